// The colours of a figure, by what its traces, shapes and annotations stand for, in the theme that the reader has.

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");

/** Asks the style sheet: colour("reach") is "#0069a8" in light. */
function palette() {
  const style = getComputedStyle(root);
  return (name) => style.getPropertyValue(`--${name}`).trim();
}

function colourOf(role, place, colour) {
  const many = colour("many").split(/\s+/);
  return role === "many" ? many[(place || 0) % many.length] : colour(role) || colour("quiet");
}

function thin(hex, share) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${red},${green},${blue},${share})`;
}

/** A trace in its colour; one that brings its own keeps it. */
function coloured(trace, colour) {
  const { role, place } = trace.meta || {};
  if (!role || role === "given") return trace;
  const own = colourOf(role, place, colour);
  const drawn = { ...trace, line: { ...trace.line, color: own }, marker: { ...trace.marker, color: own } };
  for (const bars of ["error_x", "error_y"]) if (trace[bars]) drawn[bars] = { ...trace[bars], color: own };
  if (trace.text) drawn.textfont = { ...trace.textfont, color: own };
  if (trace.fill && trace.fill !== "none") drawn.fillcolor = thin(own, 0.2);
  return drawn;
}

/** A figure's layout with what all figures have in common. */
function laidOut(layout, colour) {
  const box = { bgcolor: colour("card"), bordercolor: colour("edge"), font: { color: colour("ink") } };
  const common = {
    font: { family: getComputedStyle(document.body).fontFamily, size: innerWidth < 480 ? 11 : 13, color: colour("ink") },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 12, t: 8, b: 48 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("soft"), activecolor: colour("ink") },
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger on a figure scrolls the page
    autosize: true,
    uirevision: "reader", // what the reader has zoomed to, or hidden, stays when there is something new
  };
  const drawn = { ...common, ...layout, hoverlabel: { ...box, ...layout.hoverlabel } };
  const axis = { gridcolor: colour("grid"), zerolinecolor: colour("edge"), linecolor: colour("edge"), automargin: true };
  for (const key of new Set([...Object.keys(layout), "xaxis", "yaxis"])) {
    if (/^[xy]axis\d*$/.test(key)) drawn[key] = { ...axis, ...layout[key] };
  }
  drawn.shapes = (layout.shapes || []).map((shape) => {
    if (shape.name === "given") return shape;
    const own = colourOf(shape.name, 0, colour);
    const filled = shape.type === "rect" ? { fillcolor: thin(own, 0.15) } : {};
    return { ...shape, line: { ...shape.line, color: own }, ...filled };
  });
  drawn.annotations = (layout.annotations || []).map((note) => {
    if (note.name === "given") return note;
    return { ...note, font: { ...note.font, color: colourOf(note.name || "ink", 0, colour) } };
  });
  return drawn;
}
