// Keeps a list as the station has it. The gate says when there is something new; the page then asks for itself once more, with
// the same filter, and takes the list out of the answer. Without a beat it says since when the list is old.
"use strict";
(() => {
  const OLD = 3000, RETRY = 5000, PAUSE = 2000;
  const list = document.getElementById("list"), news = document.getElementById("news");
  const address = document.body.dataset.live;
  if (!address || !list) return;
  document.getElementById("still")?.remove();

  let heard = { steady: 0, wall: performance.timeOrigin };
  const silence = () => Math.max(performance.now() - heard.steady, Date.now() - heard.wall);
  let age = 0, cause = "", source = null, opened = 0, version = null;
  let shown = document.body.dataset.version, wanted = shown, busy = false, drawn = new Date();

  const key = (control) => `${control?.localName} ${control?.form?.action} ${control?.getAttribute("href")} ${control?.name}`;

  function put(fresh) {
    drawn = new Date();
    if (fresh.innerHTML === list.innerHTML) return;
    const focus = list.contains(document.activeElement) ? key(document.activeElement) : null;
    list.replaceChildren(...fresh.childNodes);
    if (focus) [...list.querySelectorAll("a, button, input")].find((control) => key(control) === focus)?.focus();
    news.textContent = "The list has changed.";
  }

  async function renew() {
    if (busy || shown === wanted || document.hidden) return;
    busy = true;
    const asked = wanted;
    try {
      const answer = await fetch(location.href);
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("list");
      if (answer.ok && fresh) {
        put(document.adoptNode(fresh));
        shown = asked;
      }
    } catch {
      // The beat says that the gate is gone; it is asked again.
    }
    setTimeout(() => { busy = false; renew(); }, PAUSE);
  }

  function check() {
    const old = silence() + age, lost = document.getElementById("lost");
    document.body.classList.toggle("lost", old > OLD);
    if (old <= OLD) {
      lost?.remove();
    } else {
      const why = silence() > OLD ? "the gate does not answer" : cause;
      const text = `NO DATA: the list is as it was at ${drawn.toISOString().slice(11, 19)} UTC${why ? `: ${why}` : ""}`;
      const line = lost ?? document.createElement("p");
      line.id = "lost";
      line.className = "nodata";
      line.setAttribute("role", "alert");
      if (line.textContent !== text) line.textContent = text;
      if (!lost) list.before(line);
    }
    if (!document.hidden && Math.min(silence(), performance.now() - opened) > RETRY) follow();
  }

  function follow() {
    source?.close();
    opened = performance.now();
    source = new EventSource(address);
    source.addEventListener("list", (event) => { wanted = event.data; renew(); });
    source.addEventListener("beat", (event) => {
      const beat = JSON.parse(event.data);
      if (version !== null && version !== beat.version) location.reload();
      version = beat.version;
      age = beat.lost ? Math.max(beat.age, OLD + 1) : beat.age;
      cause = beat.cause ?? "";
      heard = { steady: performance.now(), wall: Date.now() };
      check();
    });
  }

  // Browsers have few connections for a site; pages that nobody sees take none of them.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return source.close();
    check();
    if (source.readyState === EventSource.CLOSED) follow();
    renew();
  });
  setInterval(check, 250);
  follow();
})();
