// Sends what a scanner types, one text after the other, and says what came of it. The page stays, and so does the focus: the
// next scan may come at once. A scanner that types where no field has the focus is taken to have meant this one.
"use strict";
(() => {
  const form = document.getElementById("scan"), told = document.getElementById("scanned");
  if (!form || !told) return;
  const field = form.elements.text;
  let before = Promise.resolve();

  async function send(text) {
    let part = null;
    try {
      const body = new URLSearchParams({ text });
      const answer = await fetch(form.action, { method: "POST", body, signal: AbortSignal.timeout(15000) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      part = page.querySelector("#scanned > *") ?? page.querySelector("[role=alert]");
    } catch {
      // Said below.
    }
    if (part) {
      told.replaceChildren(document.adoptNode(part));
    } else {
      const line = document.createElement("p");
      line.className = "remark";
      line.textContent = `✕ ${text}: there is no answer; nobody knows what came of it`;
      told.replaceChildren(line);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = field.value;
    field.value = "";
    field.focus();
    if (text.trim() !== "") before = before.then(() => send(text));
  });

  document.addEventListener("keydown", (event) => {
    const typed = event.key.length === 1 && event.key !== " " && !event.ctrlKey && !event.altKey && !event.metaKey;
    if (typed && !document.activeElement?.matches("input, select, textarea")) field.focus();
  });
})();
