"use strict";
// Listens for what is new, and says whether somebody is there to tell: "live", "lost, trying again".
// A page that nobody sees listens to nothing: a browser has room for six such conversations with one server.
(() => {
  const status = document.getElementById("listening");
  const AGAIN = 3000; // milliseconds after which to try again where the server said no
  let source = null, again = 0;

  function say(text) {
    if (status.textContent !== text) status.textContent = text;
  }

  function listen() {
    close();
    source = new EventSource(document.body.dataset.events);
    source.onopen = () => say("live");
    source.onmessage = (event) => window.longreach.update(JSON.parse(event.data));
    source.onerror = () => {
      say("connection lost, trying again");
      if (source.readyState === EventSource.CLOSED) again = setTimeout(listen, AGAIN); // else the browser does
    };
  }

  function close() {
    clearTimeout(again);
    source?.close();
    source = null;
  }

  document.addEventListener("visibilitychange", () => (document.hidden ? close() : listen()));
  window.addEventListener("pagehide", close);
  window.addEventListener("pageshow", (event) => event.persisted && listen());
  if (!document.hidden) listen();
})();
