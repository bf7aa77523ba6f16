// Stage 2: the drawing of the network, the open block, and the table of layers.

const COLUMNS = ["backbone", "neck", "head"];
const inputShape = [3, ...data.input.target];
const lastOf = (block) => layers[block.layers.at(-1)];
const shapeOf = (index) => (index < 0 ? inputShape : layers[index].shape);
const blockOfLayer = new Map(data.blocks.flatMap((block) => block.layers.map((layer) => [layer, block])));
const layersText = ({ layers: mine }) => (mine.length === 1 ? `layer ${mine[0]}` : `layers ${mine[0]}–${mine.at(-1)}`);
let openBlock = null;

/** Lay out the blocks with a row per resolution and a column per part; the neck runs upward. */
function laidOut(width) {
  const narrow = width < 520;
  const gap = narrow ? 58 : 92, side = (width - 2 * gap) / 3;
  const height = narrow ? 92 : 104, between = narrow ? 40 : 44;
  const rows = [...new Set(data.blocks.map((block) => lastOf(block).shape[1]))].sort((a, b) => b - a);
  const spots = new Map();
  let top = 118;
  for (const row of rows) {
    const stacks = COLUMNS.map((part) => data.blocks.filter((block) => block.part === part && lastOf(block).shape[1] === row));
    const tallest = Math.max(...stacks.map((stack) => stack.length));
    const bottom = top + tallest * height + (tallest - 1) * between;
    stacks.forEach((stack, column) => stack.forEach((block, level) => {
      const up = column === 1 ? level : stack.length - 1 - level;  // from the bottom
      spots.set(block, { x: column * (side + gap), y: bottom - height - up * (height + between), width: side, height, column });
    }));
    top = bottom + between;
  }
  return { spots, height: top - between + 8, side, gap, narrow };
}

/** The line from a block or the image to a block, with the shape of its tensor. */
function flow(from, to, shape, narrow) {
  const middle = (spot) => [spot.x + spot.width / 2, spot.y + spot.height / 2];
  const size = narrow ? 10 : 11.5;
  const text = (x, y, words, anchor = "middle") =>
    svg("text", { x, y, class: "shape", "font-size": size, "text-anchor": anchor }, words);
  const tip = (x, y, turn) => svg("path", { class: "head", d: "M0 0L-8 4.5V-4.5Z", transform: `translate(${x} ${y}) rotate(${turn})` });
  if (from.column === to.column) {  // down the backbone, up the neck
    const down = to.y > from.y, [x] = middle(from);
    const start = down ? from.y + from.height : from.y, end = down ? to.y : to.y + to.height;
    return svg("g", {}, svg("path", { class: "flow", d: `M${x} ${start}V${end}` }), tip(x, end, down ? 90 : -90),
      text(x + 8, (start + end) / 2 + 4, shapeText(shape), "start"));
  }
  const y = Math.min(Math.max(middle(from)[1], to.y + 24), to.y + to.height - 24);
  const [x1, x2] = [from.x + from.width, to.x], between = (x1 + x2) / 2, startY = middle(from)[1];
  const [rowsAndColumns, channels] = [`${shape[1]}×${shape[2]}`, `×${shape[0]}`];
  return svg("g", {}, svg("path", { class: "flow", d: `M${x1} ${startY}C${between} ${startY} ${between} ${y} ${x2} ${y}` }),
    tip(x2, y, 0), text(between - 3, y - 7, rowsAndColumns), text(between - 3, y + size + 5, channels));
}

/** A block with its title, its layers and its first feature maps. */
function blockShape(block, spot, narrow) {
  const last = lastOf(block), numbers = layersText(block);
  const stride = `stride ${data.input.target[0] / last.shape[1]}`;
  const named = block.layers.map((index) => layers[index].title).filter(Boolean).at(-1);  // the write-up's name
  const title = block.part === "neck" ? (block.inputs.length > 1 ? "joined" : "neck") : named || stride;
  const size = narrow ? 11 : 13.5, pad = narrow ? 6 : 10;
  const open = () => showBlock(block, true);
  const shape = svg("g", {
    class: "block", role: "button", tabindex: 0, "aria-pressed": "false",
    "aria-label": `${block.part}, ${title}, ${numbers}, output ${shapeText(last.shape)}`, onclick: open,
    onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); } },
  },
  svg("rect", { class: "frame", x: spot.x, y: spot.y, width: spot.width, height: spot.height, rx: 8 }),
  svg("text", { x: spot.x + pad, y: spot.y + size + 6, "font-size": size, "font-weight": 600 }, title),
  svg("text", { x: spot.x + pad, y: spot.y + 2 * size + 9, "font-size": size - 1.5, class: "small" }, numbers));
  // a layer that only passes on the output of another layer has no feature maps of its own
  const shown = [...[...block.layers].reverse(), ...block.inputs].find((layer) => data.features[layer]);
  const strip = data.features[shown];
  if (strip) shape.append(tiles(strip, spot, pad, 2 * size + 17));
  return shape;
}

/** As many tiles of a strip as fit into the free part of a block. */
function tiles({ url, channels, size: [width, height] }, spot, pad, from) {
  const tall = spot.height - from - pad, wide = tall * width / height;
  const count = Math.max(1, Math.min(channels.length, Math.floor((spot.width - 2 * pad) / wide)));
  return svg("svg", { x: spot.x + pad, y: spot.y + from, width: count * wide, height: tall, viewBox: `0 0 ${count * width} ${height}`, preserveAspectRatio: "none" },
    svg("image", { href: url, width: channels.length * width, height, preserveAspectRatio: "none" }));
}

function drawNetwork() {
  const box = byId("drawing"), width = Math.max(box.clientWidth, 320);
  const { spots, height, side, gap, narrow } = laidOut(width);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "The network's blocks" });
  const image = { x: 0, y: 26, width: side, height: 52, column: 0 };
  ["backbone", "neck", "heads"].forEach((name, column) => drawing.append(
    svg("text", { class: "column", x: column * (side + gap) + side / 2, y: 14, "text-anchor": "middle", "font-size": narrow ? 12 : 14 }, name)));
  drawing.append(svg("image", { href: urls.input, ...image }));
  for (const block of data.blocks) {
    for (const source of block.inputs) {
      drawing.append(flow(source < 0 ? image : spots.get(blockOfLayer.get(source)), spots.get(block), shapeOf(source), narrow));
    }
  }
  for (const block of data.blocks) drawing.append(block.shape = blockShape(block, spots.get(block), narrow));
  box.replaceChildren(drawing);
  if (openBlock) openBlock.shape.setAttribute("aria-pressed", "true");
}

/** Open a block in the panel. @param {boolean} go whether to move the focus to the panel */
function showBlock(block, go) {
  if (openBlock) openBlock.shape.setAttribute("aria-pressed", "false");
  openBlock = block;
  block.shape.setAttribute("aria-pressed", "true");
  const mine = block.layers.map((index) => layers[index]);
  const sum = (name) => mine.reduce((total, layer) => total + layer[name], 0);
  const inputs = block.inputs.map((source) => `${shapeText(shapeOf(source))} of ${source < 0 ? "the image" : `layer ${source}`}`);
  const panel = byId("block");
  panel.replaceChildren(
    el("h3", {}, `${block.part[0].toUpperCase()}${block.part.slice(1)}, ${layersText(block)}`),
    el("p", {}, `${inputs.join(" and ")} → ${shapeText(lastOf(block).shape)}. ${thousands(sum("parameters"))} parameters, ${thousands(sum("multiply_adds"))} multiply-adds, ${digits(100 * sum("share"), 1)}% of the time.`),
    el("ol", { class: "layers", tabindex: 0, "aria-label": "Layers of this block" }, ...layerList(mine)),
    el("button", { type: "button", onclick: () => block.shape.focus() }, "Back to the drawing"));
  if (go) {
    panel.focus({ preventScroll: true });
    if (panel.getBoundingClientRect().top > innerHeight - 160) panel.scrollIntoView();
  }
}

/** A list of layers, with those of a residual unit under one heading. */
function layerList(mine) {
  const items = [], numbers = new Set(mine.map((layer) => layer.index));
  for (const layer of mine) {
    const item = layerItem(layer);
    const reached = layer.kind === "shortcut" && numbers.has(layer.inputs[1]) ? layer.index - layer.inputs[1] - 1 : 0;
    if (!reached || items.length < reached) { items.push(item); continue; }
    const unit = items.splice(-reached);
    items.push(el("li", {}, el("details", {}, el("summary", {}, el("strong", {}, "residual unit"),
      `layers ${layer.inputs[1] + 1}–${layer.index}`, el("span", { class: "to" }, shapeText(layer.shape))), el("ol", {}, ...unit, item))));
  }
  return items;
}

/** A layer, whose arithmetic and feature maps are added when it is opened. */
function layerItem(layer) {
  const item = el("details", {}, el("summary", {}, el("strong", {}, `${layer.index} ${layer.title || layer.kind}`),
    el("span", { class: "to" }, shapeText(layer.shape)), el("small", {}, layer.detail)));
  item.addEventListener("toggle", () => {
    if (item.childElementCount > 1) return;
    const costs = layer.seconds ? `${digits(1000 * layer.seconds, 2)} ms, ${digits(100 * layer.share, 1)}% of the time` : "no time of its own";
    item.append(...layer.arithmetic.map((line) => el("p", { class: "sum" }, line)),
      el("p", { class: "sum" }, `${layer.name ? `${layer.name}; ` : ""}${costs}`));
    if (data.features[layer.index]) item.append(featureTiles(layer));
  });
  return el("li", {}, item);
}

/** The channels of a layer that vary most in this image. */
function featureTiles({ index }) {
  const { url, channels, low, high, size: [width, height] } = data.features[index];
  return el("ul", { class: "tiles", "aria-label": `Feature maps of layer ${index}` }, ...channels.map((channel, nth) => el("li", {},
    svg("svg", { viewBox: `${nth * width} 0 ${width} ${height}`, role: "img", "aria-label": `channel ${channel}` },
      svg("image", { href: url, width: channels.length * width, height, preserveAspectRatio: "none" })),
    `channel ${channel}: ${digits(low[nth], 1)} to ${digits(high[nth], 1)}`)));
}

for (const button of document.querySelectorAll("#layers .sort")) {
  button.addEventListener("click", () => {
    const heading = button.closest("th"), body = byId("layers").tBodies[0];
    const falling = heading.getAttribute("aria-sort") !== "descending";
    for (const other of heading.parentElement.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = (row) => Number(row.cells[heading.cellIndex].dataset.value);
    body.append(...[...body.rows].sort((a, b) => (falling ? value(b) - value(a) : value(a) - value(b))));
  });
}

drawNetwork();
showBlock(data.blocks.find((block) => block.layers.length > 1), false);
// open one layer as an example
const firstConvolution = [...byId("block").querySelectorAll("details")].find((item) => item.textContent.includes("convolutional"));
if (firstConvolution) firstConvolution.open = true;
let drawnWidth = byId("drawing").clientWidth;
new ResizeObserver(() => {
  if (byId("drawing").clientWidth !== drawnWidth) {
    drawnWidth = byId("drawing").clientWidth;
    drawNetwork();
  }
}).observe(byId("drawing"));
