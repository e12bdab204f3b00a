// What is wrong with how a page looks, measured in the browser; returns what was measured, and complaints.
// Lengths are the style's pixels.
const complaints = [];
const say = (what, element) => complaints.push(`${what}: <${element.className || element.localName}> ${element.textContent.trim().slice(0, 60)}`);
const shown = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility === "visible";
const seen = [...document.querySelectorAll("body *")].filter((e) => shown(e) && !e.closest(".unseen"));
const parts = (colour) => colour.match(/[\d.]+/g).map(Number);
// Relative luminance and contrast, as WCAG 2.2 defines them.
const luminance = (colour) => {
  const [r, g, b] = parts(colour).slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const contrast = (a, b) => {
  const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
  return (high + 0.05) / (low + 0.05);
};
const paper = (element) => {
  for (let e = element; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor;
    if ((parts(colour)[3] ?? 1) === 1) return colour;
  }
  return "rgb(255, 255, 255)";
};
const writes = (element) => [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());

// Text is told from its ground.
let least = Infinity;
for (const element of seen.filter(writes)) {
  const found = contrast(getComputedStyle(element).color, paper(element));
  least = Math.min(least, found);
  if (found < 4.5) say(`contrast ${found.toFixed(1)}`, element);
}

// Nothing is cut off, and nothing lies on something else.
const inside = (inner, outer) => inner.left >= outer.left - 1 && inner.right <= outer.right + 1 && inner.top >= outer.top - 1 && inner.bottom <= outer.bottom + 1;
const written = (element) => {
  const range = document.createRange();
  range.selectNodeContents(element);
  return range.getBoundingClientRect();
};
for (const tile of document.querySelectorAll(".tile")) {
  for (const element of tile.querySelectorAll("*")) {
    if (!shown(element) || !writes(element) || element.closest(".serial")) continue;
    if (!inside(written(element), tile.getBoundingClientRect())) say("cut off", element);
  }
}
const screen = { left: 0, top: 0, right: innerWidth, bottom: innerHeight };
if (document.documentElement.scrollWidth > innerWidth) say("wider than the window", document.body);
if (document.body.matches(".wall")) {
  for (const element of seen) if (!inside(element.getBoundingClientRect(), screen)) say("beyond the screen", element);
}

// Words: how high their capitals are.
const pen = document.createElement("canvas").getContext("2d");
const capital = (element) => {
  const style = getComputedStyle(element);
  // A large one, because what is measured is rounded to whole pixels.
  pen.font = `${style.fontWeight} 1000px ${style.fontFamily}`;
  return (pen.measureText("E").actualBoundingBoxAscent / 1000) * parseFloat(style.fontSize);
};
const capitals = {};
for (const element of document.querySelectorAll(".word, .armed, .disarmed, .hands, p.nodata, b.nodata")) {
  if (shown(element)) capitals[element.textContent.trim()] = Math.min(capitals[element.textContent.trim()] ?? Infinity, capital(element));
}

// What is pressed can be pressed with gloves.
for (const element of seen.filter((e) => e.matches("a, button, input, select"))) {
  const { width, height } = element.getBoundingClientRect();
  if (width < 48 || height < 48) say(`a target of ${width.toFixed(0)} by ${height.toFixed(0)}`, element);
}

// How tiles are told apart.
const looks = {};
for (const tile of document.querySelectorAll(".tile[data-word]")) {
  const style = getComputedStyle(tile);
  looks[tile.dataset.light] ??= {
    paper: parts(style.backgroundColor).slice(0, 3),
    edge: `${style.borderTopStyle} ${style.borderTopWidth}`,
    mark: tile.querySelector(".mark")?.textContent ?? "",
    rim: Math.max(contrast(style.borderTopColor, paper(tile.parentElement)), contrast(style.backgroundColor, paper(tile.parentElement))),
  };
}
return { complaints: [...new Set(complaints)], least, capitals, looks };
