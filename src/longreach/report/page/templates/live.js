// Keeps up with a run that goes on, where a server sends the page's content whenever there is something new.

const shownParts = new Map(); // id of a part -> its HTML, so that what has not changed is left alone

/** Puts new HTML into a part; drawings, what the reader has opened, and the place of the keyboard stay. */
function replacePart(part, html) {
  if (shownParts.get(part.id) === html) return;
  shownParts.set(part.id, html);
  const inside = part.querySelector(".part");
  const template = document.createElement("template");
  template.innerHTML = html;
  const fresh = template.content;
  const focused = inside.contains(document.activeElement) ? document.activeElement.id : "";
  for (const details of inside.querySelectorAll("details[id]")) {
    const twin = fresh.getElementById(details.id);
    if (twin) twin.open = details.open;
  }
  for (const plot of inside.querySelectorAll(".plot")) {
    const twin = fresh.getElementById(plot.id);
    if (twin) {
      plot.setAttribute("aria-label", twin.getAttribute("aria-label"));
      twin.replaceWith(plot);
    }
  }
  inside.replaceChildren(fresh);
  part.hidden = !html;
  if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
}

function update(content) {
  document.title = content.title;
  const before = figures;
  figures = byName(content.figures);
  for (const [id, html] of Object.entries(content.parts)) {
    const part = document.getElementById(id);
    if (part) replacePart(part, html);
  }
  prepare();
  for (const plot of drawn()) {
    const same = JSON.stringify(before.get(plot.dataset.figure)) === JSON.stringify(figureOf(plot));
    if (!same) draw(plot);
  }
}

function hear(content) {
  update(content);
  return content.going;
}

prepare();
unpack().then(prepare, () => {
  for (const plot of plots()) plot.textContent = "This browser is too old to draw the figure; its numbers stand below.";
});
if (carried.events) listen(carried.events, document.getElementById("line"), carried.going, hear);
