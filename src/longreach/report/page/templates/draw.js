// Draws the figures that the page carries as data: the first at once, the others as they come near, all before print.
// plotly.js, which draws, comes packed along with the page, and is unpacked when the text can be read already.

const carried = JSON.parse(document.getElementById("data").textContent);
let figures = byName(carried.figures);

const NEAR = "800px"; // of the window: what is so near is drawn
const PAPER = 660; // pixels: the width of a page of A4 or Letter within its margins
const CONFIG = {
  responsive: true,
  displaylogo: false,
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  sendData: false, // no button that sends a figure to somebody's server
  plotlyServerURL: "",
  topojsonURL: "",
};

function byName(list) {
  return new Map(list.map((figure) => [figure.name, figure]));
}

const plots = () => [...document.querySelectorAll(".plot")];
const figureOf = (plot) => figures.get(plot.dataset.figure);

/** Draws a figure, or draws it anew in the theme and width that the page has now. */
function draw(plot) {
  const figure = figureOf(plot);
  if (!figure || !window.Plotly) return;
  const colour = palette();
  const layout = laidOut(figure.layout, colour);
  if (root.dataset.paper) Object.assign(layout, { width: PAPER, autosize: false });
  plot.dataset.drawn = figure.name;
  try {
    Plotly.react(plot, figure.traces.map((trace) => coloured(trace, colour)), layout, CONFIG);
  } catch (error) {
    plot.textContent = "The figure could not be drawn; its numbers stand below.";
    console.error(error);
  }
}

const drawn = () => plots().filter((plot) => plot.dataset.drawn);

const near = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting && !target.dataset.drawn) draw(target);
  },
  { rootMargin: NEAR },
);

/** Runs plotly.js; the page's policy allows this very script. */
async function unpack() {
  const packed = document.getElementById("plotly");
  if (!packed || window.Plotly) return;
  const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  packed.remove();
}

/** Draws the first figure if that can be done by now, and waits for the others to come near. */
function prepare() {
  const [first] = plots();
  if (first && !first.dataset.drawn) draw(first);
  near.disconnect(); // who is observed anew is told of at once
  for (const plot of plots()) {
    const height = figureOf(plot)?.layout.height;
    if (height) plot.style.minHeight = `${height}px`; // so that nothing moves when it is drawn
    near.observe(plot);
  }
  for (const button of document.querySelectorAll("[data-csv]")) button.hidden = false;
}

// On paper: light, every figure drawn and as wide as the paper, every finding open.

let opened = [];

function toPaper() {
  if (root.dataset.paper) return;
  root.dataset.paper = "yes";
  opened = [...document.querySelectorAll("details.finding:not([open])")];
  for (const details of opened) details.open = true;
  plots().forEach(draw);
}

function fromPaper() {
  if (!root.dataset.paper) return;
  delete root.dataset.paper;
  for (const details of opened) details.open = false;
  drawn().forEach(draw);
}

addEventListener("beforeprint", toPaper);
addEventListener("afterprint", fromPaper);
matchMedia("print").addEventListener("change", ({ matches }) => (matches ? toPaper() : fromPaper()));
dark.addEventListener("change", () => drawn().forEach(draw));
