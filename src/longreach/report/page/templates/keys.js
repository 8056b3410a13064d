// A figure by keyboard: arrow keys go from point to point and from curve to curve, each is shown and read out.

const aloud = document.getElementById("aloud");
const places = new WeakMap(); // figure's element -> where the reader is: {curve, at, row}

const isRead = (trace) => trace.hoverinfo !== "skip" && trace.visible !== false && trace.meta?.role !== "quiet" && count(trace) > 0;
const count = (trace) => (trace.z ? (trace.z[0] || []).length : Math.max((trace.x || []).length, (trace.y || []).length));

/** Text as plotly was given it, tags and entities included, as a person reads it. */
function plainly(text) {
  return new DOMParser().parseFromString(String(text ?? ""), "text/html").body.textContent.trim();
}

function spoken(value) {
  if (value === null || value === undefined) return "no value";
  return typeof value === "number" ? String(Number(value.toPrecision(4))) : plainly(value);
}

function titleOf(figure, trace, letter) {
  const axis = (trace[`${letter}axis`] || letter).replace(letter, `${letter}axis`);
  const of = figure.layout[axis] || figure.layout[`${letter}axis`] || {};
  return plainly(of.title?.text ?? letter);
}

function sentence(figure, trace, place) {
  const x = trace.x ? trace.x[place.at] : place.at;
  const y = trace.z ? (trace.y ? trace.y[place.row] : place.row) : trace.y ? trace.y[place.at] : place.at;
  const parts = [`${titleOf(figure, trace, "x")} ${spoken(x)}`, `${titleOf(figure, trace, "y")} ${spoken(y)}`];
  if (trace.z) parts.push(spoken(trace.z[place.row]?.[place.at]));
  return `${trace.name ? `${plainly(trace.name)}: ` : ""}${parts.join(", ")}`;
}

/** The place on another curve that lies nearest in x. */
function nearest(trace, x) {
  if (trace.z || !trace.x || typeof x !== "number") return 0;
  let best = 0;
  trace.x.forEach((value, at) => {
    if (Math.abs(value - x) < Math.abs(trace.x[best] - x)) best = at;
  });
  return best;
}

/** Where a key leads to; undefined where the key means nothing here. */
function moved(key, place, traces) {
  const trace = traces[place.curve];
  const last = count(trace) - 1;
  const within = (at, most) => Math.min(Math.max(at, 0), most);
  if (key === "ArrowRight") return { ...place, at: within(place.at + 1, last) };
  if (key === "ArrowLeft") return { ...place, at: within(place.at - 1, last) };
  if (key === "Home") return { ...place, at: 0 };
  if (key === "End") return { ...place, at: last };
  if (key !== "ArrowUp" && key !== "ArrowDown") return undefined;
  const step = key === "ArrowUp" ? 1 : -1;
  if (trace.z) return { ...place, row: within(place.row + step, trace.z.length - 1) };
  const readable = traces.flatMap((one, curve) => (isRead(one) ? [curve] : []));
  const curve = readable[(readable.indexOf(place.curve) - step + readable.length) % readable.length];
  return { ...place, curve, at: nearest(traces[curve], trace.x?.[place.at]) };
}

function show(plot, trace, place) {
  const point = trace.z ? [place.row, place.at] : place.at;
  const subplot = `${trace.xaxis || "x"}${trace.yaxis || "y"}`;
  Plotly.Fx.unhover(plot); // a point that has no place on its axis is only read out: nothing else may seem to be it
  try {
    Plotly.Fx.hover(plot, [{ curveNumber: place.curve, pointNumber: point }], [subplot]);
  } catch {
    Plotly.Fx.unhover(plot);
  }
}

document.addEventListener("keydown", (event) => {
  const plot = event.target.closest?.(".plot");
  if (!plot || !plot.dataset.drawn || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "Escape") Plotly.Fx.unhover(plot);
  const figure = figureOf(plot);
  const first = figure.traces.findIndex(isRead);
  if (first < 0) return;
  const before = places.get(plot);
  const place = moved(event.key, before || { curve: first, at: -1, row: 0 }, figure.traces);
  if (!place) return;
  event.preventDefault();
  if (place.at < 0) place.at = 0;
  places.set(plot, place);
  const trace = figure.traces[place.curve];
  aloud.textContent = sentence(figure, trace, place);
  show(plot, trace, place);
});

document.addEventListener("focusout", (event) => {
  if (event.target.classList?.contains("plot") && event.target.dataset.drawn) Plotly.Fx.unhover(event.target);
});
