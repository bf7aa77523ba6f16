// Images with boxes, maps and grids drawn over them.

const urls = { image: byId("image").src, input: byId("pixels").src };
const sizes = { image: data.input.source, input: data.input.target };  // [height, width]

/**
 * An image with an empty layer over it.
 * @param {"image"|"input"} which image; the coordinates of the layer are its pixels
 * @param {Object} attributes of the drawing
 * @returns {Object} `drawing` is the whole; `layer` is for boxes, and `under` for maps
 */
function imageWithLayers(which, attributes) {
  const [height, width] = sizes[which];
  const under = svg("g"), layer = svg("g");
  const image = svg("image", { href: urls[which], width, height, preserveAspectRatio: "none" });
  return { drawing: svg("svg", { viewBox: `0 0 ${width} ${height}`, ...attributes }, image, under, layer), under, layer };
}

/**
 * Show only a square around some boxes; its side is at least a tenth of the longer side of the image.
 * @param {Array<number[]>} boxes xyxy
 */
function closeUp(drawing, boxes, which) {
  const [height, width] = sizes[which];
  const low = (axis) => Math.min(...boxes.map((box) => box[axis])), high = (axis) => Math.max(...boxes.map((box) => box[axis + 2]));
  const side = Math.min(1.3 * Math.max(high(0) - low(0), high(1) - low(1), Math.max(height, width) / 13), Math.max(height, width));
  const from = (axis, most) => Math.min(Math.max((low(axis) + high(axis) - side) / 2, Math.min(0, (most - side) / 2)), Math.max(most - side, (most - side) / 2));
  drawing.setAttribute("viewBox", `${from(0, width)} ${from(1, height)} ${side} ${side}`);
}

/** A box outline that is visible on any image. @param {number[]} box xyxy @param {string} color */
function outline(box, color, attributes = {}) {
  const shape = { x: box[0], y: box[1], width: Math.max(box[2] - box[0], 0), height: Math.max(box[3] - box[1], 0) };
  return svg("g", attributes,
    svg("rect", { ...shape, class: "halo" }), svg("rect", { ...shape, class: "edge", stroke: color }));
}

/** A label at the top of a box, within the image; its height is the longer side divided by `perSide`. */
function boxLabel(box, text, { paper, ink }, which, perSide = 38) {
  const [height, width] = sizes[which];
  const size = Math.max(height, width) / perSide;
  const length = Math.min(text.length * size * 0.58 + size * 0.6, width);
  const x = Math.min(Math.max(box[0], 0), width - length), y = Math.max(box[1] - size * 1.35, 0);
  return svg("g", { "pointer-events": "none" },
    svg("rect", { x, y, width: length, height: size * 1.35, fill: paper, rx: size * 0.15 }),
    svg("text", { x: x + size * 0.3, y: y + size, "font-size": size, fill: ink, textLength: length - size * 0.6, lengthAdjust: "spacingAndGlyphs" }, text));
}

/** The colors of a class. */
const colorsOf = (label) => data.colors[label % data.colors.length];

/**
 * A map over the image with one value per cell: higher values are brighter, and the image is darkened.
 * @param {number} number of the scale
 * @param {function(number, number): number} value from 0 to 1 at a row and column
 * @returns {HTMLCanvasElement} one pixel per cell
 */
function cellMap(number, value) {
  const { rows, columns } = scales[number];
  const canvas = el("canvas", { width: columns, height: rows });
  const paper = canvas.getContext("2d"), image = paper.createImageData(columns, rows);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const lit = Math.sqrt(Math.min(Math.max(value(row, column), 0), 1));
      const alpha = 0.4 + 0.45 * lit;
      image.data.set([255 * lit, 190 * lit, 50 * lit, 255 * alpha], 4 * (row * columns + column));
    }
  }
  paper.putImageData(image, 0, 0);
  return canvas;
}

/** An image of a small canvas, stretched over the whole input. */
function mapImage(canvas) {
  const [height, width] = sizes.input;
  return svg("image", { href: canvas.toDataURL(), width, height, preserveAspectRatio: "none", style: "image-rendering: pixelated" });
}

// The maps of all scales in one list, in the order of the drop-down lists.
const allMaps = scales.flatMap((scale, number) => scale.anchors.map((sides, anchor) =>
  ({ number, anchor, name: `stride ${scale.stride}, anchor ${anchorText(sides)}` })));
const mapIndex = ([number, , , anchor]) => allMaps.findIndex((map) => map.number === number && map.anchor === anchor);

/** The cell of a map with the highest value. @param {function(number[]): number} value of a position */
function highestCell({ number, anchor }, value) {
  const { rows, columns } = scales[number];
  let best = [number, 0, 0, anchor], highest = -Infinity;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const position = [number, row, column, anchor], here = value(position);
      if (here > highest) [best, highest] = [position, here];
    }
  }
  return best;
}

/**
 * An image whose cells can be chosen by click, arrow keys and two number fields.
 * @param {string} label
 * @param {function(): number[]} chosen returns the position that is shown
 * @param {function(number[])} choose shows a position
 * @param {function(number[]): number} value of a position; Home moves to the highest value of the map
 */
function cellGrid(label, chosen, choose, value) {
  const grid = imageWithLayers("input", { tabindex: 0, role: "application", "aria-roledescription": "grid of cells", "aria-label": label });
  const cut = (number, count) => Math.min(Math.max(Math.trunc(number) || 0, 0), count - 1);
  const moveTo = (row, column) => {
    const [number, , , anchor] = chosen(), { rows, columns } = scales[number];
    choose([number, cut(row, rows), cut(column, columns), anchor]);
  };
  const rowField = numberField("row", { min: 0, step: 1 }, (row) => moveTo(row, chosen()[2]));
  const columnField = numberField("column", { min: 0, step: 1 }, (column) => moveTo(chosen()[1], column));
  const maps = select("map", allMaps.map((map) => map.name), (index) => choose(highestCell(allMaps[index], value)));
  grid.drawing.addEventListener("click", (event) => {
    const frame = grid.drawing.getBoundingClientRect(), { rows, columns } = scales[chosen()[0]];
    moveTo(Math.floor((event.clientY - frame.top) / frame.height * rows), Math.floor((event.clientX - frame.left) / frame.width * columns));
  });
  grid.drawing.addEventListener("keydown", (event) => {
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const [number, row, column, anchor] = chosen();
    if (steps[event.key]) moveTo(row + steps[event.key][0], column + steps[event.key][1]);
    else if (event.key === "Home") choose(highestCell({ number, anchor }, value));
    else return;
    event.preventDefault();
  });
  /** Set the fields and the list to a position. */
  const follow = (position) => {
    const { rows, columns } = scales[position[0]];
    [rowField.field.max, columnField.field.max] = [rows - 1, columns - 1];
    [rowField.field.value, columnField.field.value] = [position[1], position[2]];
    maps.list.selectedIndex = mapIndex(position);
  };
  return { ...grid, controls: [maps.whole, rowField.whole, columnField.whole], follow };
}

/** The lines between the cells of a scale. */
function cellLines({ rows, columns, stride }) {
  const across = Array.from({ length: rows + 1 }, (_, row) => `M0 ${row * stride}H${columns * stride}`);
  const down = Array.from({ length: columns + 1 }, (_, column) => `M${column * stride} 0V${rows * stride}`);
  return svg("path", { class: "cells", d: [...across, ...down].join("") });
}
