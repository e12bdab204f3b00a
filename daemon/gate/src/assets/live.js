// Follows the station. Without a beat that tells of fresh data, every verdict goes off the screen after three seconds:
// a picture that has stopped must not look like a rack that is all right.
"use strict";
(() => {
  const OLD = 3000, place = document.getElementById("live"), news = document.getElementById("news");
  const address = document.body.dataset.live;
  if (!address || !place) return;
  let heard = performance.now(), age = 0, last = null, lost = false, version = null, source = null;
  let sounds = null;

  const tiles = (root) => new Map([...root.querySelectorAll("[data-word]")].map((tile) => [tile.id, tile]));

  // Puts in what has changed and leaves the rest alone, so that the focus stays where it is.
  function draw(html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    const before = tiles(place), after = tiles(fresh.content);
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
    const same = before.size > 0 && before.size === after.size && [...after.keys()].every((id) => before.has(id));
    if (same) {
      for (const [id, tile] of after) {
        const old = before.get(id);
        if (old.outerHTML !== tile.outerHTML) {
          const focused = old.contains(document.activeElement);
          old.replaceWith(tile);
          const link = focused && tile.querySelector("a");
          if (link) link.focus();
        }
      }
      const rest = [...place.children], next = [...fresh.content.children];
      rest.filter((part) => !part.matches(".grid")).forEach((part) => part.remove());
      const grid = place.querySelector(".grid");
      let above = true;
      for (const part of next) {
        if (part.matches(".grid")) above = false;
        else if (above) grid.before(part);
        else place.append(part);
      }
    } else {
      place.replaceChildren(fresh.content);
    }
    if (told.length) news.textContent = told.join(" — ");
    if (failed) tone();
  }

  // Two low tones for a drive that has failed; none for one that has passed.
  function tone() {
    if (!sounds) return;
    for (const [at, pitch] of [[0, 330], [0.25, 220]]) {
      const note = sounds.createOscillator();
      note.frequency.value = pitch;
      note.connect(sounds.destination);
      note.start(sounds.currentTime + at);
      note.stop(sounds.currentTime + at + 0.2);
    }
  }

  function blank(seconds) {
    document.body.classList.add("lost");
    for (const tile of place.querySelectorAll(".tile")) {
      const word = tile.querySelector(".word");
      if (word && word.textContent !== "NO DATA") word.textContent = "NO DATA";
      tile.querySelectorAll(".why, .action, .band, .strip, progress").forEach((part) => part.remove());
      if (tile.dataset.word) { tile.dataset.word = "NO DATA"; tile.dataset.light = "nodata"; }
      if (tile.hasAttribute("aria-label")) tile.setAttribute("aria-label", "NO DATA");
    }
    let line = document.getElementById("lost");
    if (!line) {
      line = document.createElement("p");
      line.id = "lost";
      line.className = "nodata";
      line.setAttribute("role", "alert");
      place.before(line);
    }
    line.textContent = `NO DATA for ${seconds} s`;
  }

  function check() {
    const old = performance.now() - heard + age;
    if (old > OLD) {
      lost = true;
      blank(Math.round(old / 1000));
    } else if (lost) {
      lost = false;
      document.body.classList.remove("lost");
      document.getElementById("lost")?.remove();
      if (last !== null) place.replaceChildren();
      if (last !== null) draw(last);
    }
  }

  function follow() {
    source = new EventSource(address);
    source.addEventListener("grid", (event) => { last = event.data; if (!lost) draw(last); });
    source.addEventListener("beat", (event) => {
      const beat = JSON.parse(event.data);
      if (version !== null && version !== beat.version) location.reload();
      version = beat.version;
      if (beat.lost) age = Math.max(beat.age, OLD + 1);
      else { age = beat.age; }
      heard = performance.now();
      check();
    });
    // A browser gives up where it gets another answer than events, such as none from a proxy.
    source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(follow, 1000); };
  }

  document.getElementById("sound")?.addEventListener("click", (event) => {
    sounds = sounds ? (sounds.close(), null) : new AudioContext();
    event.target.textContent = sounds ? "Sound on" : "Sound off";
    event.target.setAttribute("aria-pressed", String(Boolean(sounds)));
  });
  if (document.body.classList.contains("lost")) { lost = true; age = OLD + 1; }
  navigator.wakeLock?.request("screen").catch(() => {});
  setInterval(check, 250);
  follow();
})();
