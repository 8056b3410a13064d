"use strict";
// Keeps a list of runs up to date: each card that says something else is swapped, new ones come in at their place, and
// what was ticked or unfolded stays so.
(() => {
  const cards = document.getElementById("cards");
  const byId = (id) => document.getElementById(id);

  function card(id) {
    const made = document.createElement("article");
    made.className = "card";
    made.id = `run-${id}`;
    const tick = Object.assign(document.createElement("input"), { type: "checkbox", name: "run", value: id });
    tick.setAttribute("aria-label", "Compare this run");
    const told = document.createElement("div");
    told.className = "told";
    made.append(tick, told);
    return made;
  }

  function tell(shown, html) {
    const told = shown.querySelector(".told");
    if (told.dataset.html === html) return;
    const unfolded = [...told.querySelectorAll("details[open]")].map((one) => one.id);
    const focused = told.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    told.innerHTML = html; // from our own server, which escapes every name
    told.dataset.html = html;
    for (const id of unfolded) byId(id)?.setAttribute("open", "");
    if (focused) told.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  function update(content) {
    byId("count").textContent = content.line;
    byId("none").hidden = content.cards.length > 0;
    byId("more").hidden = !content.more;
    byId("rest").textContent = content.more;
    const wanted = new Set(content.cards.map(({ id }) => `run-${id}`));
    for (const shown of [...cards.children]) if (!wanted.has(shown.id)) shown.remove();
    content.cards.forEach(({ id, html }, place) => {
      const shown = byId(`run-${id}`) || card(id);
      tell(shown, html);
      if (cards.children[place] !== shown) cards.insertBefore(shown, cards.children[place] || null);
    });
    choose();
    return true; // another run may begin at any time
  }

  function choose() {
    const count = cards.querySelectorAll("input:checked").length;
    byId("choose").hidden = cards.children.length < 2;
    const most = Number(byId("compare").dataset.most);
    byId("choose").disabled = count < 2 || count > most;
    byId("choose").textContent =
      count < 2 ? "Tick two runs or more to compare them"
      : count > most ? `${count} runs are ticked: at most ${most} can be compared`
      : `Compare these ${count} runs`;
  }

  for (const shown of cards.children) shown.querySelector(".told").dataset.html = shown.querySelector(".told").innerHTML;
  cards.addEventListener("change", choose);
  window.addEventListener("pageshow", choose);
  choose();
  listen(document.body.dataset.events, byId("line"), true, update);
})();
