// Stages 6 and 8: the annotated objects, their assignment, and the stage at which each was lost.

const { truth } = data;
const assignedImage = imageWithLayers("input", { role: "img", "aria-label": "The object, its anchors and the predicted box" });
const sayObject = announcer("object-status");

const tone = (stage) => (stage === "found" ? "good" : stage === "not counted" ? "muted" : "bad");
const objectChips = truth.objects.map((object) => el("button", { type: "button", "aria-pressed": "false", onclick: () => showObject(object) },
  `${object.number}: ${object.name}`, el("span", { class: `tag ${tone(object.verdict.stage)}` }, object.verdict.stage)));
byId("objects").append(...objectChips);
byId("assigned").append(assignedImage.drawing);
const wholeImage = el("input", { type: "checkbox", onchange: () => drawObject(...drawn) });
byId("zoom").append(el("label", { class: "check" }, wholeImage, "show the whole image"));
let drawn = [];

/** Show an object with its anchors and positives. */
function showObject(object, positive = 0) {
  objectChips.forEach((chip, index) => chip.setAttribute("aria-pressed", String(truth.objects[index] === object)));
  const parts = [el("h3", {}, `Object ${object.number}: ${object.name}`),
    el("p", {}, el("span", { class: `tag ${tone(object.verdict.stage)}` }, object.verdict.stage), ` ${object.verdict.text}`)];
  if (!object.cells.length) parts.push(el("p", {}, "This object is not used in training: it is a crowd, or outside the image."));
  else parts.push(anchorTable(object), ...positiveParts(object, positive));
  byId("object").replaceChildren(...parts);
  drawObject(object, object.positives[positive]);
  sayObject(`Object ${object.number}, ${object.name}: ${object.verdict.stage}. ${object.verdict.text}`);
}

/** A table of the IoU with every anchor of every scale, and of the positives. */
function anchorTable(object) {
  let index = 0;
  const rows = scales.flatMap((scale, number) => scale.anchors.map((sides, anchor) => {
    const iou = object.anchor_ious[index++], [row, column] = object.cells[number];
    const positive = object.positives.find((each) => each.position[0] === number && each.position[3] === anchor);
    const why = positive ? `${positive.reason}${positive.replaced_by === null ? "" : `; object ${positive.replaced_by} keeps it`}` : "no";
    return { chosen: Boolean(positive), cells: [
      `${scale.stride}: ${anchorText(sides)}`, `${row}, ${column}`, digits(iou, 3),
      el("span", { class: positive ? "bar yes" : "bar", style: `width: ${(100 * iou).toFixed(1)}%` }), why,
    ] };
  }));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "IoU with all anchors" },
    table("IoU of the object with each anchor, centered on its cell (row, column)", ["stride: anchor", "cell", "#IoU", "", "positive?"], rows));
}

/** A positive: its targets and predictions, and the box loss. */
function positiveParts(object, index) {
  const positive = object.positives[index], [number, row, column] = positive.position, scale = scales[number];
  const choice = select("positive", object.positives.map(({ position }) => allMaps[mapIndex(position)].name), (chosen) => showObject(object, chosen));
  choice.list.selectedIndex = index;
  choice.list.setAttribute("id", "positive");
  const three = (value) => (value === null ? "on the border" : digits(value, 3));
  const rows = ["tx", "ty", "tw", "th"].map((name, axis) => ({ cells: [name, three(positive.target_raw[axis]), three(positive.raw[axis])] }));
  rows.push({ cells: ["objectness", digits(positive.target_objectness, 3), digits(positive.objectness, 3)] },
    { cells: [object.name, digits(positive.target_classes[0], 3), digits(positive.probability, 3)] });
  const objectness = truth.objectness_target === "one" ? "The objectness target is 1." : "The objectness target is the IoU of the predicted box.";
  return [
    el("h3", {}, "Targets of this cell and anchor"), el("div", { class: "controls" }, choice.whole),
    el("p", {}, `Row ${row}, column ${column} of stride ${scale.stride}. The target of the center is at ${positive.target_offset.map((each) => digits(each, 3)).join(", ")} within the cell. ${objectness}`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Target and prediction" }, table(names.length === 1 ? "Target and prediction" : `The target of every other class is ${digits(positive.target_classes[1], 4)}`, ["", "#target", "#predicted"], rows)),
    el("ol", { class: "steps" }, ...boxSteps(object, positive)),
    ...(positive.losses ? [] : [el("p", {}, "Another object keeps this position, so it adds nothing to the loss of this object.")]),
    el("div", { class: "actions" }, ...(positive.losses ? [el("button", { type: "button", onclick: () => lossHere(positive.position) }, "All loss terms of this cell")] : []),
      el("button", { type: "button", onclick: () => decodeHere(positive.position) }, "Decode this cell")),
  ];
}

/** IoU, GIoU and the box loss with their numbers. */
function boxSteps(object, positive) {
  const measure = { giou: "GIoU", diou: "DIoU", ciou: "CIoU" }[truth.box_measure], weight = truth.weights.giou;
  const { intersection, union, iou, enclosing, giou } = generalized(positive.box, object.input_box);
  const [height, width] = sizes.input, [left, top, right, bottom] = object.input_box;
  const one = (value) => digits(value, 1), four = (value) => digits(value, 4), times = weight === 1 ? "" : `${weight} · `;
  const steps = [step("GIoU", [`IoU = I / U = ${one(intersection)} / ${one(union)} = ${four(iou)}`,
    `GIoU = IoU − (E − U) / E`, `  = ${four(iou)} − (${one(enclosing)} − ${one(union)}) / ${one(enclosing)}`], `  = ${four(giou)}`)];
  if (positive.losses) {
    steps.push(step("box scale", [`2 − w·h / input area`, `  = 2 − ${one(right - left)} · ${one(bottom - top)} / (${width} · ${height})`], `  = ${four(positive.box_scale)}`),
      step("box loss", [`giou = ${times}box scale · (1 − ${measure})`, `  = ${times}${four(positive.box_scale)} · (1 − ${four(positive.measure)})`], `  = ${four(positive.losses.giou)}`));
  }
  return steps;
}

/** Draw the object and, for the chosen positive, its cell, its anchor, the predicted box and E. */
function drawObject(object, positive) {
  drawn = [object, positive];
  const layer = [outline(object.input_box, "var(--truth)")];
  if (positive) {
    const [number, row, column, anchor] = positive.position, { stride, anchors } = scales[number];
    const [x, y] = [(column + 0.5) * stride, (row + 0.5) * stride], [w, h] = anchors[anchor];
    layer.unshift(svg("rect", { class: "cell", x: column * stride, y: row * stride, width: stride, height: stride }));
    layer.push(outline([x - w / 2, y - h / 2, x + w / 2, y + h / 2], "var(--anchor)", { class: "dashed" }),
      outline(positive.enclosing, "var(--enclosing)", { class: "dashed" }), outline(positive.box, "var(--box)"));
    assignedImage.under.replaceChildren(cellLines(scales[number]));
  }
  if (wholeImage.checked) assignedImage.drawing.setAttribute("viewBox", `0 0 ${sizes.input[1]} ${sizes.input[0]}`);
  else closeUp(assignedImage.drawing, [object.input_box, ...(positive ? [positive.enclosing] : [])], "input");
  assignedImage.layer.replaceChildren(...layer);
}

if (truth.objects.length) showObject(truth.objects[0]);
else byId("object").append(el("p", {}, "No object is annotated, so all cells are background."));

for (const button of document.querySelectorAll("#verdicts [data-object]")) {
  button.addEventListener("click", () => { showObject(truth.objects[Number(button.dataset.object)]); goTo("assignment"); });
}
for (const button of document.querySelectorAll("#verdicts [data-position]")) {
  button.addEventListener("click", () => decodeHere(button.dataset.position.split(",").map(Number)));
}
