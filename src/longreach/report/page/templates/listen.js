// Listens for what is new, and says whether somebody is there to tell it: live, over, lost and trying again, or refused.

const AGAIN = 3000; // milliseconds after which to try again where the server has refused

/**
 * Keeps listening to server-sent events at an address, also when the server is away for a while.
 *
 * hear    is given the content of each, and returns whether there is more to come
 * status  the element that says how things stand; `going`: whether there is more to come, as far as the page knows
 *
 * A page that nobody sees listens to nothing: a browser holds six such conversations with one server, not more.
 */
function listen(address, status, going, hear) {
  let source = null;
  let again = 0;

  function say(state, text) {
    if (status.textContent !== text) status.textContent = text; // or it would be read aloud again
    status.dataset.state = state;
  }

  const sayWell = () => (going ? say("live", "live") : say("over", "over"));

  function sayLost() {
    if (status.dataset.state === "lost") return; // since when is told once
    const since = new Date().toLocaleTimeString();
    say("lost", `connection lost at ${since}, trying again; \`longreach view\` may have ended`);
  }

  /** Says why the server refuses: it tells so in a sentence, but not to an EventSource. */
  async function ask() {
    const cut = new AbortController();
    try {
      const answer = await fetch(address, { signal: cut.signal });
      if (!answer.ok) say("refused", await answer.text());
    } catch {
      sayLost();
    } finally {
      cut.abort();
    }
  }

  function begin() {
    end();
    source = new EventSource(address);
    source.onopen = sayWell;
    source.onmessage = (event) => {
      going = hear(JSON.parse(event.data));
      sayWell();
    };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) return sayLost(); // the browser itself tries again
      again = setTimeout(begin, AGAIN);
      ask();
    };
  }

  function end() {
    clearTimeout(again);
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? end() : begin()));
  addEventListener("pagehide", end); // a page that the browser keeps for "back" shall not hold a conversation either
  addEventListener("pageshow", ({ persisted }) => persisted && begin());
  if (!document.hidden) begin();
}
