// Stages 3 and 4: the objectness maps, and the decoding of one cell and anchor.

const SHOWN_CLASSES = 8;
const sayCell = announcer("decode-status");
const magnified = imageWithLayers("input", { role: "img", "aria-label": "The cell, its anchor and its box, close up" });
let chosen = [scales.length - 1, 0, 0, 0];  // scale, row, column, anchor

const objectnessAt = (position) => sigmoid(scales[position[0]].raw[rawAt(position) + 4]);

/** The cell of a map with the highest objectness. */
const surest = (number, anchor) => highestCell({ number, anchor }, objectnessAt);
const grid = cellGrid("Cells of the chosen map over the image: arrow keys move, Home goes to the highest objectness",
  () => chosen, (position) => showCell(position), objectnessAt);

/** The number of cells of a map with an objectness above a threshold. */
function cellsAbove(number, anchor, threshold) {
  const { rows, columns } = scales[number];
  let count = 0;
  for (let cell = 0; cell < rows * columns; cell++) {
    count += objectnessAt([number, Math.floor(cell / columns), cell % columns, anchor]) > threshold;
  }
  return count;
}

/** A button that shows a map: the image with the objectness over it. */
function mapButton(number, anchor) {
  const scale = scales[number], best = surest(number, anchor);
  const [height, width] = sizes.input;
  const canvas = el("canvas", { width: 208, height: Math.round(208 * height / width), "aria-hidden": "true" });
  const overlay = cellMap(number, (row, column) => objectnessAt([number, row, column, anchor]));
  byId("pixels").decode().then(() => {
    const paper = canvas.getContext("2d");
    paper.drawImage(byId("pixels"), 0, 0, canvas.width, canvas.height);
    paper.imageSmoothingEnabled = false;
    paper.drawImage(overlay, 0, 0, canvas.width, canvas.height);
  });
  const threshold = Math.min(...data.nms.score_thresholds);
  return el("button", { type: "button", class: "map", "aria-pressed": "false", onclick: () => { showCell(best); goTo("decode"); } }, canvas,
    el("span", {}, `stride ${scale.stride}, ${anchorText(scale.anchors[anchor])}`,
      el("small", {}, `highest ${digits(objectnessAt(best), 3)}; ${cellsAbove(number, anchor, threshold)} of ${scale.rows * scale.columns} above ${Number(digits(threshold, 3))}`)));
}

const mapButtons = scales.map((scale, number) => scale.anchors.map((_, anchor) => mapButton(number, anchor)));
byId("maps").style.setProperty("--anchors", Math.max(...scales.map((scale) => scale.anchors.length)));
byId("maps").append(...mapButtons.flat());

byId("decode-controls").append(...grid.controls);
byId("grid").append(grid.drawing);
byId("magnified").append(magnified.drawing);

/** Decode a position and show every step. @param {number[]} position */
function showCell(position) {
  const newMap = position[0] !== chosen[0] || position[3] !== chosen[3] || !grid.under.hasChildNodes();
  chosen = position;
  const [number, row, column, anchor] = position, scale = scales[number], found = decode(position);
  if (newMap) {
    grid.under.replaceChildren(mapImage(cellMap(number, (r, c) => objectnessAt([number, r, c, anchor]))), cellLines(scale));
    mapButtons.flat().forEach((button) => button.setAttribute("aria-pressed", String(button === mapButtons[number][anchor])));
  }
  grid.follow(position);
  const [x, y] = [(column + 0.5) * scale.stride, (row + 0.5) * scale.stride], [w, h] = found.anchor;
  const anchorBox = [x - w / 2, y - h / 2, x + w / 2, y + h / 2];
  const cell = [column, row, column + 1, row + 1].map((side) => side * scale.stride);
  const marks = (dot) => [
    svg("rect", { class: "cell", x: cell[0], y: cell[1], width: scale.stride, height: scale.stride }),
    outline(anchorBox, "var(--anchor)", { class: "dashed" }), outline(found.box, "var(--box)"),
    svg("circle", { cx: found.center[0], cy: found.center[1], r: dot, fill: "var(--box)", stroke: "#000000", "stroke-width": dot / 4 }),
  ];
  grid.layer.replaceChildren(...marks(Math.max(...sizes.input) / 110));
  closeUp(magnified.drawing, [cell, anchorBox, found.box], "input");
  magnified.layer.replaceChildren(cellLines(scale), ...marks(magnified.drawing.viewBox.baseVal.width / 60));
  byId("formulas").replaceChildren(...formulas(found));
  sayCell(`Row ${row}, column ${column}: objectness ${digits(found.objectness, 3)}, ${names[found.label]}, score ${digits(found.score, 3)}, box ${pixels(found.box)}.`);
}

/** The raw numbers, every step of decoding with its numbers, and the classes. */
function formulas(found) {
  const { raw: [tx, ty, tw, th, to], stretch, stride, anchor, form, offset, center, sides, label } = found;
  const [, row, column] = found.position, t = (value) => digits(value, 4);
  const wider = stretch === 1 ? "" : ` · ${short(stretch)} − ${short((stretch - 1) / 2)}`;
  const rawNumbers = { tx, ty, tw, th, to };
  const axis = (name, corner, cornerAt, logit, within, at) => step(`center ${name}`,
    [`${name} = (${corner} + σ(t${name})${wider}) · stride`, `  = (${cornerAt} + σ(${t(logit)})${wider}) · ${stride}`, `  = (${cornerAt} + ${t(within)}) · ${stride}`],
    `  = ${digits(at, 2)}`, curve(sigmoid, logit));
  const squared = form === "new_coords", factor = (value) => (squared ? `(2 · σ(${value}))²` : `exp(${value})`);
  const side = (name, word, anchorSide, logit, length) => step(word,
    [`${name} = anchor ${word} · ${factor(`t${name}`)}`, `  = ${short(anchorSide)} · ${factor(t(logit))}`, `  = ${short(anchorSide)} · ${t(sideFactor(form, logit))}`],
    `  = ${digits(length, 2)}`, curve(squared ? sigmoid : Math.exp, logit));
  const ofClass = form === "region" ? "softmax" : "σ";
  return [
    el("h3", {}, `Stride ${stride}, row ${row}, column ${column}, anchor ${anchorText(anchor)}`),
    el("dl", { class: "raw", "aria-label": "Raw numbers of the head" }, ...Object.entries(rawNumbers).map(([name, value]) =>
      el("div", {}, el("dt", {}, name), el("dd", { "data-raw": name }, t(value))))),
    el("ol", { class: "steps" },
      axis("x", "column", column, tx, offset[0], center[0]), axis("y", "row", row, ty, offset[1], center[1]),
      side("w", "width", anchor[0], tw, sides[0]), side("h", "height", anchor[1], th, sides[1]),
      step("objectness", ["o = σ(to)", `  = σ(${t(to)})`], `  = ${t(found.objectness)}`, curve(sigmoid, to)),
      step(`best class: ${names[label]}`, [`p = ${ofClass}(${t(found.logits[label])})`], `  = ${t(found.probabilities[label])}`, form === "region" ? undefined : curve(sigmoid, found.logits[label])),
      step("score", [`o · p = ${t(found.objectness)} · ${t(found.probabilities[label])}`], `  = ${t(found.score)}`),
      step("box", ["left, top, right, bottom = x ∓ w/2, y ∓ h/2", `input    ${pixels(found.box)}`], `image  ${pixels(found.imageBox)}`)),
    ...classTables(found),
  ];
}

function step(title, lines, result, drawing) {
  const words = el("div", {}, el("strong", {}, title), ...lines.map((line) => el("code", {}, line)), el("code", { class: "result", "data-result": title.split(":")[0] }, result));
  return el("li", { class: drawing ? undefined : "plain" }, words, ...(drawing ? [drawing] : []));
}

/** A plot of a function with a marked point. */
function curve(formula, at) {
  const reach = formula === sigmoid ? Math.max(6, Math.abs(at) * 1.1) : Math.max(2, Math.abs(at) * 1.1);
  const top = formula === sigmoid ? 1 : Math.exp(reach);
  const spot = (t) => [40 + 38 * t / reach, 46 - 42 * formula(t) / top];
  const points = Array.from({ length: 41 }, (_, step) => spot(reach * (step / 20 - 1)).map((value) => value.toFixed(1)).join(" "));
  const [x, y] = spot(at);
  return svg("svg", { class: "curve", viewBox: "0 0 80 50", "aria-hidden": "true" },
    svg("path", { class: "axis", d: "M0 46H80M40 0V50" }), svg("path", { d: `M${points.join("L")}` }),
    svg("path", { class: "drop", d: `M${x} 46V${y}H40` }), svg("circle", { cx: x, cy: y, r: 3.5 }));
}

/** The classes by descending probability: a table of the first few, and a closed one with the others. */
function classTables({ logits, probabilities, objectness }) {
  const order = probabilities.map((_, label) => label).sort((a, b) => logits[b] - logits[a]);
  const rows = order.map((label) => ({ cells: [
    names[label], digits(logits[label], 4), digits(probabilities[label], 4), digits(objectness * probabilities[label], 4),
    el("span", { class: "bar", style: `width: ${(100 * probabilities[label]).toFixed(1)}%` }),
  ] }));
  const headings = ["class", "#logit", "#σ(logit)", "#· objectness", ""];
  const shown = el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Classes" },
    table("Classes are independent of each other, so their probabilities need not add up to 1.", headings, rows.slice(0, SHOWN_CLASSES), { class: "classes" }));
  if (rows.length <= SHOWN_CLASSES) return [shown];
  const rest = el("details", {}, el("summary", {}, `${rows.length - SHOWN_CLASSES} more classes`));
  rest.addEventListener("toggle", () => {
    if (rest.childElementCount === 1) rest.append(table("The rest", headings, rows.slice(SHOWN_CLASSES), { class: "classes" }));
  });
  return [shown, rest];
}

/** Show a position in stage 4, and scroll there. */
function decodeHere(position) {
  showCell(position);
  goTo("decode");
}

// At first, the best detection is shown.
showCell(candidates.count ? positionOf(ranked[0]) : surest(scales.length - 1, 0));
