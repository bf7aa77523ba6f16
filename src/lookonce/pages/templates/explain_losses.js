// Stage 7: the loss of every cell and anchor, with the numbers of each term.

const VALUES = [  // label, and field of a scale with the values of all positions
  ["conf, the objectness loss", "conf"], ["best IoU with any object", "best_iou"], ["target o", "target"],
  ["focal factor (o − p)²", "focal"], ["cross-entropy BCE(o, p)", "cross_entropy"],
];
for (const scale of truth.scales) {
  for (const name of ["positive", "ignored", "in_area", "best_object", ...VALUES.map(([, field]) => field)]) scale[name] = unpacked(scale[name]);
}
const ownerOf = new Map(truth.objects.flatMap((object) => object.positives.filter((positive) => positive.losses)
  .map((positive) => [positive.position.join(), { object, positive }])));
const indexOf = ([number, row, column, anchor]) => (row * scales[number].columns + column) * scales[number].anchors.length + anchor;
const lossAt = (name, position) => truth.scales[position[0]][name][indexOf(position)];
const mostOf = (field) => Math.max(...truth.scales.map((scale) => scale[field].reduce((a, b) => Math.max(a, b), 0)), 1e-9);
const sayLoss = announcer("loss-status");
let lossPosition = null, lossField = "conf";

const lossGrid = cellGrid("Loss of the cells of the chosen map: arrow keys move, Home goes to the highest value",
  () => lossPosition, showLoss, (position) => lossAt(lossField, position));
const fieldChoice = select("brightness", VALUES.map(([name]) => name), (index) => { lossField = VALUES[index][1]; drawLossMap(); });
const lossNote = el("p", { class: "muted" });
byId("loss-controls").append(fieldChoice.whole, ...lossGrid.controls);
byId("loss-map").append(lossGrid.drawing);
byId("loss-map").after(lossNote);

/** Draw the chosen value of every cell of the map, with marks on positives and ignored cells. */
function drawLossMap() {
  const [number, , , anchor] = lossPosition, { rows, columns, stride } = scales[number], most = mostOf(lossField);
  const marks = [svg("pattern", { id: "hatched", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("rect", { width: 3, height: 6, fill: "#8aa0ff" }))];
  const counts = { positive: 0, ignored: 0, sum: 0 };
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const position = [number, row, column, anchor], frame = { x: column * stride + 1, y: row * stride + 1, width: stride - 2, height: stride - 2 };
      counts.sum += lossAt("conf", position);
      if (lossAt("ignored", position)) { counts.ignored += 1; marks.push(svg("rect", { ...frame, fill: "url(#hatched)" })); }
      if (lossAt("positive", position)) { counts.positive += 1; marks.push(svg("rect", { ...frame, fill: "none", stroke: "#58c795", "stroke-width": 2 })); }
    }
  }
  lossGrid.under.replaceChildren(mapImage(cellMap(number, (row, column) => lossAt(lossField, [number, row, column, anchor]) / most)), cellLines(scales[number]), ...marks);
  lossNote.textContent = `Positive: ${counts.positive}, ignored: ${counts.ignored}, of ${rows * columns} cells; conf of this map: ${compact(counts.sum)}. Brightest on any map: ${compact(most)}.`;
}

/** Show every term of a position. @param {number[]} position */
function showLoss(position) {
  const newMap = !lossPosition || position[0] !== lossPosition[0] || position[3] !== lossPosition[3];
  lossPosition = position;
  if (newMap) drawLossMap();
  lossGrid.follow(position);
  const [number, row, column, anchor] = position, { stride } = scales[number], owner = ownerOf.get(position.join());
  const nearest = truth.objects[lossAt("best_object", position)], box = decode(position).box;
  lossGrid.layer.replaceChildren(
    ...truth.objects.filter((object) => object.cells.length).map((object) => outline(object.input_box, "var(--truth)", { class: "thin" })),
    svg("rect", { class: "cell", x: column * stride, y: row * stride, width: stride, height: stride }),
    ...(nearest ? [outline(nearest.input_box, "var(--truth)")] : []), outline(box, "var(--box)"));
  const ignored = lossAt("ignored", position), role = owner ? "positive" : ignored ? "ignored" : "background";
  byId("loss-cell").replaceChildren(
    el("h3", {}, `Stride ${stride}, row ${row}, column ${column}, anchor ${anchorText(scales[number].anchors[anchor])}`),
    el("p", {}, el("span", { class: role === "positive" ? "tag good" : "tag muted" }, role),
      owner ? ` for object ${owner.object.number}: ${owner.object.name}` : ""),
    el("p", { class: "sum", "data-label": "" }, labelRow(position, owner)),
    el("h4", {}, "Objectness"), el("ol", { class: "steps" }, ...objectnessSteps(position, owner)),
    ...(owner ? positiveTerms(position, owner) : [el("p", { class: "muted" }, "A cell that is not positive has no box loss and no class loss.")]),
    el("div", { class: "actions" }, el("button", { type: "button", onclick: () => decodeHere(position) }, "Decode this cell"),
      ...(nearest ? [el("button", { type: "button", onclick: () => { showObject(nearest); goTo("assignment"); } }, `See object ${nearest.number}`)] : [])));
  sayLoss(`Row ${row}, column ${column}: ${role}, best IoU ${digits(lossAt("best_iou", position), 3)}, conf ${compact(lossAt("conf", position))}.`);
}

/** The row of the dense label at a position: box, 1 and smoothed classes; zeros without an object. */
function labelRow([number, row, column, anchor], owner) {
  const at = `label[${row}, ${column}, ${anchor}]`;
  if (!owner) return `${at} = [0, 0, 0, 0, 0, … 0]: no object is assigned here`;
  const [left, top, right, bottom] = owner.object.input_box, [on, off] = owner.positive.target_classes;
  const classes = names.map((_, label) => compact(label === owner.object.label ? on : off));
  const shown = classes.length > 12 ? `${compact(off)} …, ${compact(on)} at class ${owner.object.label}` : classes.join(", ");
  return `${at} = [${[(left + right) / 2, (top + bottom) / 2, right - left, bottom - top].map((value) => digits(value, 1)).join(", ")}, 1, ${shown}]`;
}

/** The steps from best IoU to conf. */
function objectnessSteps(position, owner) {
  const to = scales[position[0]].raw[rawAt(position) + 4], p = sigmoid(to), o = lossAt("target", position);
  const best = lossAt("best_iou", position), nearest = lossAt("best_object", position), ignored = lossAt("ignored", position);
  const objects = truth.objects.filter((object) => object.cells.length).length, weight = truth.weights.conf;
  const factors = `${weight === 1 ? "" : ` · ${weight}`}${ignored ? " · 0" : ""}`;
  const counted = owner ? "counted: a positive always is, whatever its best IoU" : lossAt("in_area", position) ? "ignored: in an ignored area" : `${compact(best)} ${ignored ? "≥" : "<"} ${truth.ignore_iou}: ${ignored ? "ignored" : "counted as background"}`;
  const target = !owner ? ["o = 0: background"] : truth.objectness_target === "one" ? ["o = 1: positive"] : [`o = IoU(this box, object ${owner.object.number})`];
  return [
    step("best IoU", [`max IoU(this box, object) over ${objects} ${objects === 1 ? "object" : "objects"}`, nearest < 0 ? "no object overlaps it" : `object ${nearest}: ${truth.objects[nearest].name}`, counted], `  = ${compact(best)}`),
    step("target o", target, `  = ${compact(o)}`),
    step("objectness p", ["p = σ(to)", `  = σ(${digits(to, 4)})`], `  = ${compact(p)}`, curve(sigmoid, to)),
    step("focal factor", ["(o − p)²", `  = (${compact(o)} − ${compact(p)})²`], `  = ${compact(lossAt("focal", position))}`),
    step("cross-entropy", ["BCE = −o · log p − (1 − o) · log(1 − p)", `  = ${compact(o)} · ${compact(softplus(-to))} + ${compact(1 - o)} · ${compact(softplus(to))}`], `  = ${compact(lossAt("cross_entropy", position))}`),
    step("conf", [`(o − p)² · BCE${weight === 1 ? "" : " · weight"}`, `  = ${compact(lossAt("focal", position))} · ${compact(lossAt("cross_entropy", position))}${factors}${ignored ? " (ignored)" : ""}`], `  = ${compact(lossAt("conf", position))}`),
  ];
}

/** Box loss, class terms and the sum of a positive. */
function positiveTerms(position, { object, positive }) {
  const terms = unpacked(positive.class_terms), [on, off] = positive.target_classes, s = truth.label_smoothing, count = names.length;
  const start = rawAt(position) + 5, logits = scales[position[0]].raw.subarray(start, start + count), weight = truth.weights.prob;
  const order = Array.from(terms.keys()).sort((a, b) => terms[b] - terms[a]);
  const exclusive = scales[position[0]].form === "region", probabilities = decode(position).probabilities;
  const entropy = exclusive ? "CE(y, softmax(t))" : "BCE(y, σ(t))";
  const rows = order.map((label) => ({ chosen: label === object.label, cells: [
    names[label], digits(logits[label], 3), compact(probabilities[label]), compact(label === object.label ? on : off), compact(terms[label])] }));
  const headings = ["class", "#logit t", exclusive ? "#softmax(t)" : "#σ(t)", "#target y", `#${entropy}`];
  const caption = `y = 1 − ${s} + ${s} / ${count} = ${compact(on)} for ${object.name}${count === 1 ? "" : `, ${s} / ${count} = ${compact(off)} for every other class`}`;
  const rest = el("details", {}, el("summary", {}, `${rows.length - SHOWN_CLASSES} more classes, together ${compact(order.slice(SHOWN_CLASSES).reduce((sum, label) => sum + terms[label], 0))}`));
  rest.addEventListener("toggle", () => {
    if (rest.childElementCount === 1) rest.append(table("The rest", headings, rows.slice(SHOWN_CLASSES)));
  });
  const { giou, conf, prob } = positive.losses, times = weight === 1 ? "" : `${weight} · `;
  return [
    el("h4", {}, "Box"), el("ol", { class: "steps" }, ...boxSteps(object, positive)),
    el("h4", {}, "Classes"),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Class terms" }, table(caption, headings, rows.slice(0, SHOWN_CLASSES), { class: "terms" })),
    ...(rows.length > SHOWN_CLASSES ? [rest] : []),
    el("ol", { class: "steps" }, step("prob", [`${times}Σ ${entropy} over ${count} ${count === 1 ? "class" : "classes"}`], `  = ${compact(prob)}`),
      step("loss of this position", ["giou + conf + prob", `  = ${compact(giou)} + ${compact(conf)} + ${compact(prob)}`], `  = ${compact(giou + conf + prob)}`)),
  ];
}

/** Show the loss of a position, and scroll there. */
function lossHere(position) {
  showLoss(position);
  goTo("losses");
}

// At first, the positive with the highest loss is shown, or without positives the worst cell of the coarsest map.
const costliest = [...ownerOf.values()].map(({ positive }) => positive)
  .sort((a, b) => b.losses.giou + b.losses.conf + b.losses.prob - a.losses.giou - a.losses.conf - a.losses.prob)[0];
showLoss(costliest ? costliest.position : highestCell(allMaps.at(-1), (position) => lossAt("conf", position)));
