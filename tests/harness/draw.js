// Draws what the browser shows of a page as SVG, for README.md: papers, edges and texts at the places where they are.
const parts = [];
const tell = (name, facts, text) => {
  const facts_told = Object.entries(facts).filter(([, value]) => value !== null).map(([key, value]) => ` ${key}="${value}"`).join("");
  parts.push(text === undefined ? `<${name}${facts_told}/>` : `<${name}${facts_told}>${text.replace(/&/g, "&amp;").replace(/</g, "&lt;")}</${name}>`);
};
const round = (length) => Math.round(length * 10) / 10;
const hex = (colour) => `#${colour.match(/[\d.]+/g).slice(0, 3).map((part) => Number(part).toString(16).padStart(2, "0")).join("")}`;
const box = (rect, inset, facts) => tell("rect", { x: round(rect.x + inset), y: round(rect.y + inset), width: round(rect.width - 2 * inset), height: round(rect.height - 2 * inset), ...facts });
const pen = document.createElement("canvas").getContext("2d");

for (const element of document.querySelectorAll("body, body *")) {
  const style = getComputedStyle(element), rect = element.getBoundingClientRect();
  if (!rect.width || rect.top >= innerHeight || element.closest(".unseen")) continue;
  if (!/^rgba.*, 0\)$/.test(style.backgroundColor)) box(rect, 0, { fill: hex(style.backgroundColor) });
  const width = parseFloat(style.borderTopWidth), stroke = hex(style.borderTopColor), kind = style.borderTopStyle;
  if (width > 0 && kind === "double") {
    for (const inset of [width / 6, width * 5 / 6]) box(rect, inset, { fill: "none", stroke, "stroke-width": round(width / 3) });
  } else if (width > 0 && kind !== "none") {
    const dash = { dashed: `${3 * width} ${2 * width}`, dotted: `${width} ${width}` }[kind] ?? null;
    box(rect, width / 2, { fill: "none", stroke, "stroke-width": width, "stroke-dasharray": dash });
  }
  const below = parseFloat(style.borderBottomWidth);
  if (below > 0 && !width) box({ ...rect.toJSON(), y: rect.bottom - below, height: below }, 0, { fill: hex(style.borderBottomColor) });
  const outline = parseFloat(style.outlineWidth);
  if (style.outlineStyle === "solid") box(rect, outline / 2, { fill: "none", stroke: hex(style.outlineColor), "stroke-width": outline });
  if (element.localName === "progress") {
    box({ ...rect.toJSON(), width: rect.width * element.position }, 1, { fill: "#0b5fa5" });
  }
  pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  const rise = pen.measureText("E").fontBoundingBoxAscent;
  for (const node of element.childNodes) {
    if (node.nodeType !== Node.TEXT_NODE) continue;
    // Word by word, those on one line together.
    const lines = [];
    for (const { index, 0: word } of node.textContent.matchAll(/\S+/g)) {
      const range = document.createRange();
      range.setStart(node, index);
      range.setEnd(node, index + word.length);
      const place = range.getBoundingClientRect(), line = lines.at(-1);
      if (line && Math.abs(line.top - place.top) < 1) Object.assign(line, { text: `${line.text} ${word}`, right: place.right });
      else lines.push({ text: word, left: place.left, right: place.right, top: place.top });
    }
    for (const line of lines) {
      tell("text", {
        x: round(line.left), y: round(line.top + rise), "font-size": round(parseFloat(style.fontSize)),
        "font-weight": Number(style.fontWeight) > 400 ? "bold" : null, "font-family": /Mono/.test(style.fontFamily) ? "DejaVu Sans Mono, monospace" : null,
        fill: hex(style.color), textLength: round(line.right - line.left), lengthAdjust: "spacingAndGlyphs",
      }, line.text);
    }
  }
}
return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${innerWidth} ${innerHeight}" width="${innerWidth / 2}" height="${innerHeight / 2}" font-family="DejaVu Sans, Verdana, sans-serif">
<title>${window.pictured}</title>
${parts.join("\n")}
</svg>
`;
