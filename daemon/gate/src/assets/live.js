// Follows the station. Without a beat that tells of fresh data, every verdict goes off the screen after three seconds:
// a picture that has stopped must not look like a rack that is all right.
"use strict";
(() => {
  const OLD = 3000, RETRY = 5000;
  const place = document.getElementById("live"), news = document.getElementById("news");
  const address = document.body.dataset.live;
  if (!address || !place) return;
  // From here on this script answers for what is shown.
  document.getElementById("still")?.remove();

  // The page was drawn after it was asked for, so it is no older than that. Of both clocks, one stands still while the
  // machine sleeps, and the other one can be set.
  let heard = { steady: 0, wall: performance.timeOrigin };
  const silence = () => Math.max(performance.now() - heard.steady, Date.now() - heard.wall);
  // How old the gate's news was, and why; the newest tiles of this connection; whether they could not be drawn.
  let age = 0, cause = "", last = null, broken = false;
  let lost = document.body.classList.contains("lost"), version = null, source = null, opened = 0;
  let sounds = null;
  if (lost) age = OLD + 1;

  const tiles = (root) => new Map([...root.querySelectorAll("[data-word]")].map((tile) => [tile.id, tile]));
  const runs = (all) => [...all.values()].some((tile) => tile.dataset.light === "running");

  // Says what has come about since.
  function tell(before, after) {
    const told = [];
    let failed = false;
    for (const [id, tile] of after) {
      const old = before.get(id), light = tile.dataset.light;
      const changed = old && old.dataset.word !== tile.dataset.word && old.dataset.light !== "nodata";
      if (changed && ["failed", "stopped", "refused", "passed"].includes(light)) {
        told.push(tile.getAttribute("aria-label"));
        failed = failed || light === "failed";
      }
    }
    if (told.length) news.textContent = told.join(" — ");
    if (failed) play([330, 220]);
    else if (runs(before) && !runs(after)) play([660]);
  }

  // Puts in what has changed and leaves the rest alone, so that the focus stays where it is.
  function draw(html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const before = tiles(place), after = tiles(fresh.content);
    const focus = place.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    tell(before, after);
    if (before.size > 0 && before.size === after.size && [...after.keys()].every((id) => before.has(id))) {
      for (const [id, tile] of after) {
        const old = before.get(id);
        if (old.outerHTML !== tile.outerHTML) old.replaceWith(tile);
      }
      const room = place.querySelector(".room");
      [...place.children].filter((part) => part !== room).forEach((part) => part.remove());
      let above = true;
      for (const part of [...fresh.content.children]) {
        if (part.matches(".room")) above = false;
        else if (above) room.before(part);
        else place.append(part);
      }
    } else {
      place.replaceChildren(fresh.content);
    }
    if (focus && !place.contains(document.activeElement)) {
      [...place.querySelectorAll("a")].find((link) => link.getAttribute("href") === focus)?.focus();
    }
  }

  function show(html) {
    broken = true;
    draw(html);
    broken = false;
  }

  // Two low tones for a drive that has failed, a high one when nothing runs any more; none for a drive that has passed.
  function play(pitches) {
    pitches.forEach((pitch, at) => {
      if (!sounds) return;
      const note = sounds.createOscillator();
      note.frequency.value = pitch;
      note.connect(sounds.destination);
      note.start(sounds.currentTime + at * 0.25);
      note.stop(sounds.currentTime + at * 0.25 + 0.2);
    });
  }

  // Takes off whatever was so once.
  function blank(seconds) {
    document.body.classList.add("lost");
    const once = ".line > :not(.station), .remark, .detail ~ *, .mark, .tile > :not(.over, .word)";
    place.querySelectorAll(once).forEach((part) => part.remove());
    for (const tile of place.querySelectorAll(".tile")) {
      const word = tile.querySelector(".word");
      if (word.textContent !== "NO DATA") word.textContent = "NO DATA";
      if (tile.dataset.word) tile.dataset.word = "NO DATA";
      tile.dataset.light = "nodata";
      const bay = tile.querySelector(".bay")?.textContent;
      if (tile.hasAttribute("aria-label")) tile.setAttribute("aria-label", `${bay}: NO DATA`);
    }
    let line = document.getElementById("lost");
    if (!line) {
      line = document.createElement("p");
      line.id = "lost";
      line.className = "nodata";
      line.setAttribute("role", "alert");
      // The seconds are not read out, each time that they change.
      line.append("NO DATA", document.createElement("span"));
      line.lastChild.setAttribute("aria-hidden", "true");
      place.before(line);
    }
    const why = silence() > OLD ? "the gate does not answer" : cause;
    const text = ` for ${seconds} s${why ? `: ${why}` : ""}`;
    if (line.lastChild.textContent !== text) line.lastChild.textContent = text;
  }

  function check() {
    const old = silence() + age;
    if (old > OLD || broken) {
      lost = true;
      blank(Math.round(old / 1000));
    } else if (lost && last !== null) {
      lost = false;
      document.body.classList.remove("lost");
      document.getElementById("lost")?.remove();
      place.replaceChildren();
      show(last);
    }
    // A connection whose other end is gone without a word stays open for ever.
    if (!document.hidden && Math.min(silence(), performance.now() - opened) > RETRY) follow();
  }

  function follow() {
    source?.close();
    opened = performance.now();
    source = new EventSource(address);
    // What an earlier connection has brought says nothing of now.
    source.addEventListener("open", () => { last = null; });
    source.addEventListener("grid", (event) => { last = event.data; broken = false; if (!lost) show(last); });
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

  document.getElementById("sound")?.addEventListener("click", (event) => {
    sounds = sounds ? (sounds.close(), null) : new AudioContext();
    event.target.textContent = sounds ? "Sound on" : "Sound off";
    event.target.setAttribute("aria-pressed", String(Boolean(sounds)));
  });

  // Browsers have few connections for a site; pages that nobody sees or hears take none of them.
  function seen() {
    if (!document.hidden) {
      navigator.wakeLock?.request("screen").catch(() => {});
      check();
      if (source.readyState === EventSource.CLOSED) follow();
    } else if (!sounds) {
      source.close();
    }
  }
  document.addEventListener("visibilitychange", seen);
  addEventListener("pageshow", check);
  setInterval(check, 250);
  follow();
  seen();
})();
