"use strict";
// Draws the figures that the page carries as data, in the colours of the reader's theme; makes them readable by
// keyboard, saves their numbers, and keeps up with a run that goes on, where a server sends what is new.
(() => {
  const carried = JSON.parse(document.getElementById("data").textContent);
  let figures = byName(carried.figures);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let printing = false;

  function byName(list) {
    return new Map(list.map((figure) => [figure.name, figure]));
  }

  // ---- colours ----------------------------------------------------------------------------------------------------

  function theme() {
    const style = getComputedStyle(document.documentElement);
    return (name) => style.getPropertyValue(`--${name}`).trim();
  }

  function colourOf(meta, color) {
    if (meta.role === "many") {
      const many = color("many").split(/\s+/);
      return many[(meta.place || 0) % many.length];
    }
    return color(meta.role) || color("main");
  }

  function thinner(hex, share) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${share})`;
  }

  function coloured(trace, color) {
    const meta = trace.meta || {};
    if (!meta.role || meta.role === "given") return trace;
    const own = colourOf(meta, color);
    const drawn = { ...trace, line: { ...trace.line, color: own }, marker: { ...trace.marker, color: own } };
    for (const bars of ["error_x", "error_y"]) if (trace[bars]) drawn[bars] = { ...trace[bars], color: own };
    if (trace.textfont || trace.text) drawn.textfont = { ...trace.textfont, color: own };
    if (trace.fill && trace.fill !== "none") drawn.fillcolor = thinner(own, 0.2);
    return drawn;
  }

  function laidOut(layout, color) {
    const page = {
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: color("ink") },
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 60, r: 12, t: 8, b: 48 }, autosize: true,
      hoverlabel: { bgcolor: color("card"), bordercolor: color("edge"), font: { color: color("ink") } },
      colorway: color("many").split(/\s+/), dragmode: "zoom",
    };
    const drawn = { ...page, ...layout, hoverlabel: { ...page.hoverlabel, ...layout.hoverlabel } };
    for (const key of Object.keys(layout).concat("xaxis", "yaxis"))
      if (/^[xy]axis\d*$/.test(key))
        drawn[key] = { gridcolor: color("grid"), zerolinecolor: color("edge"), linecolor: color("edge"), automargin: true, ...layout[key] };
    drawn.shapes = (layout.shapes || []).map((shape) => {
      const own = colourOf({ role: shape.name }, color);
      return { ...shape, line: { ...shape.line, color: own }, ...(shape.type === "rect" ? { fillcolor: thinner(own, 0.15) } : {}) };
    });
    drawn.annotations = (layout.annotations || []).map((note) => ({ ...note, font: { ...note.font, color: colourOf({ role: note.name }, color) } }));
    return drawn;
  }

  // ---- drawing ----------------------------------------------------------------------------------------------------

  const CONFIG = { displaylogo: false, responsive: true, sendData: false, showTips: false, displayModeBar: false, plotlyServerURL: "", topojsonURL: "" };

  function draw(plot) {
    const figure = figures.get(plot.id.slice("plot-".length));
    if (!figure || !window.Plotly) return;
    const color = theme();
    const traces = figure.traces.map((trace) => coloured(trace, color));
    Plotly.react(plot, traces, laidOut(figure.layout, color), CONFIG);
    plot.dataset.drawn = figure.name;
  }

  const plots = () => [...document.querySelectorAll(".plot")];
  const seen = new IntersectionObserver(
    (entries) => { for (const entry of entries) if (entry.isIntersecting && !entry.target.dataset.drawn) draw(entry.target); },
    { rootMargin: "600px" },
  );

  function begin() {
    for (const plot of plots()) seen.observe(plot);
    for (const button of document.querySelectorAll("[data-csv]")) button.hidden = false;
    const first = plots()[0];
    if (first && !first.dataset.drawn) draw(first);
  }

  begin();
  dark.addEventListener("change", () => plots().filter((plot) => plot.dataset.drawn).forEach(draw));
})();
