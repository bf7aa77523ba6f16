// Stages 6 to 8: the annotated objects, what training asks for them, and where they were lost.

const { truth } = data;
const assignedImage = imageWithLayers("input", { role: "img", "aria-label": "The object, its anchors and what is predicted for it" });
const sayObject = announcer("object-status");

const tone = (stage) => (stage === "found" ? "good" : stage === "not counted" ? "muted" : "bad");
const objectChips = truth.objects.map((object) => el("button", { type: "button", "aria-pressed": "false", onclick: () => showObject(object) },
  `${object.number}: ${object.name}`, el("span", { class: `tag ${tone(object.verdict.stage)}` }, object.verdict.stage)));
byId("objects").append(...objectChips);
byId("assigned").append(assignedImage.drawing);
const wholeImage = el("input", { type: "checkbox", onchange: () => drawObject(...drawn) });
byId("zoom").append(el("label", { class: "check" }, wholeImage, "show the whole image"));
let drawn = [];

/** One object: its anchors, its positives, its losses. */
function showObject(object, positive = 0) {
  objectChips.forEach((chip, place) => chip.setAttribute("aria-pressed", String(truth.objects[place] === object)));
  const parts = [el("h3", {}, `Object ${object.number}: ${object.name}`),
    el("p", {}, el("span", { class: `tag ${tone(object.verdict.stage)}` }, object.verdict.stage), ` ${object.verdict.text}`)];
  if (!object.cells.length) parts.push(el("p", {}, "Not trained on: it is a crowd, or nothing of it lies in the image."));
  else parts.push(anchorTable(object), ...positiveParts(object, positive));
  byId("object").replaceChildren(...parts);
  drawObject(object, object.positives[positive]);
  sayObject(`Object ${object.number}, ${object.name}: ${object.verdict.stage}. ${object.verdict.text}`);
}

/** The IoU with every anchor of every scale, and what follows from it. */
function anchorTable(object) {
  let place = 0;
  const rows = scales.flatMap((scale, number) => scale.anchors.map((sides, anchor) => {
    const iou = object.anchor_ious[place++], [row, column] = object.cells[number];
    const positive = object.positives.find((each) => each.place[0] === number && each.place[3] === anchor);
    const why = positive ? `${positive.reason}${positive.replaced_by === null ? "" : `, but object ${positive.replaced_by} took it`}` : "no";
    return { chosen: Boolean(positive), cells: [
      `${scale.stride}: ${anchorText(sides)}`, `${row}, ${column}`, digits(iou, 3),
      el("span", { class: positive ? "bar yes" : "bar", style: `width: ${(100 * iou).toFixed(1)}%` }), why,
    ] };
  }));
  return el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "IoU with all anchors" },
    table("IoU of the object with each anchor on the middle of its cell (row, column)", ["stride: anchor", "cell", "#IoU", "", "positive?"], rows));
}

/** One positive: target against prediction, GIoU and the loss it makes. */
function positiveParts(object, at) {
  const positive = object.positives[at], [number, row, column, anchor] = positive.place, scale = scales[number];
  const choice = select("positive", object.positives.map(({ place }) => `stride ${scales[place[0]].stride}, anchor ${anchorText(scales[place[0]].anchors[place[3]])}`),
    (place) => showObject(object, place));
  choice.list.selectedIndex = at;
  choice.list.setAttribute("id", "positive");
  const four = (value) => (value === null ? "on the border" : digits(value, 3));
  const rows = ["tx", "ty", "tw", "th"].map((name, place) => ({ cells: [name, four(positive.target_raw[place]), four(positive.raw[place])] }));
  rows.push({ cells: ["objectness", digits(positive.target_objectness, 3), digits(positive.objectness, 3)] },
    { cells: [object.name, digits(positive.target_classes[0], 3), digits(positive.probability, 3)] });
  return [
    el("h3", {}, "What training asks of this cell and anchor"), el("div", { class: "controls" }, choice.whole),
    el("p", {}, `Row ${row}, column ${column} of stride ${scale.stride}: the centre should be at ${positive.target_offset.map((each) => digits(each, 3)).join(", ")} within the cell.`),
    el("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Target and prediction" }, table(names.length === 1 ? "Target and prediction" : `The target of every other class is ${digits(positive.target_classes[1], 4)}`, ["", "#target", "#predicted"], rows)),
    ...giouSteps(object, positive),
    el("button", { type: "button", onclick: () => decodeHere(positive.place) }, "Decode this cell"),
  ];
}

/** GIoU and the loss with their numbers. */
function giouSteps(object, positive) {
  const measure = { giou: "GIoU", diou: "DIoU", ciou: "CIoU" }[truth.box_measure], times = truth.box_weight;
  const { intersection, union, iou, enclosing, giou } = generalised(positive.box, object.input_box);
  const [height, width] = sizes.input, area0 = area(object.input_box), weight = 2 - area0 / (height * width);
  const whole = (value) => digits(value, 0), four = (value) => digits(value, 4);
  const steps = [step("GIoU", [`IoU = I / U = ${whole(intersection)} / ${whole(union)} = ${four(iou)}`,
    `GIoU = IoU − (E − U) / E = ${four(iou)} − (${whole(enclosing)} − ${whole(union)}) / ${whole(enclosing)}`], `  = ${four(giou)}`)];
  if (positive.losses) {
    steps.push(step("box loss", [`${times === 1 ? "" : `${times} · `}(2 − w·h / input area) · (1 − ${measure}) = ${times === 1 ? "" : `${times} · `}(2 − ${whole(area0)} / ${whole(height * width)}) · (1 − ${four(positive.measure)})`], `  = ${four(times * weight * (1 - positive.measure))}`),
      step("with the other terms", [`giou ${four(positive.losses.giou)}, conf ${four(positive.losses.conf)}, prob ${four(positive.losses.prob)}`],
        `  = ${four(positive.losses.giou + positive.losses.conf + positive.losses.prob)}`));
  }
  return [el("ol", { class: "steps" }, ...steps), ...(positive.losses ? [] : [el("p", {}, "This place makes no loss for this object.")])];
}

/** The object, its cell and anchor at the chosen positive, what is predicted there, and E. */
function drawObject(object, positive) {
  drawn = [object, positive];
  const layer = [outline(object.input_box, "var(--truth)")];
  if (positive) {
    const [number, row, column, anchor] = positive.place, { stride, anchors } = scales[number];
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
else byId("object").append(el("p", {}, "No object is annotated: everything is background."));

/** The confidence loss of every cell, positives and ignored cells marked. */
function startLossMap() {
  const lossImage = imageWithLayers("input", { role: "img", "aria-label": "Confidence loss of every cell" });
  for (const scale of truth.scales) {
    for (const name of ["positive", "ignored", "conf"]) scale[name] = unpacked(scale[name]);
  }
  const most = Math.max(...truth.scales.map((scale) => scale.conf.reduce((a, b) => Math.max(a, b), 0)), 1e-9);
  const choice = select("scale", scales.map((scale) => `stride ${scale.stride}`), drawMap);
  function drawMap(number) {
    const { rows, columns, stride, anchors } = scales[number], { positive, ignored, conf } = truth.scales[number];
    const places = (row, column) => anchors.map((_, anchor) => (row * columns + column) * anchors.length + anchor);
    const marks = [], counts = { positive: 0, ignored: 0 };
    for (let row = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++) {
        const here = places(row, column), frame = { x: column * stride + 1, y: row * stride + 1, width: stride - 2, height: stride - 2 };
        const isPositive = here.some((place) => positive[place]), isIgnored = here.some((place) => ignored[place]);
        counts.positive += here.filter((place) => positive[place]).length;
        counts.ignored += here.filter((place) => ignored[place]).length;
        if (isIgnored) marks.push(svg("rect", { ...frame, fill: "url(#hatched)" }));
        if (isPositive) marks.push(svg("rect", { ...frame, fill: "none", stroke: "#58c795", "stroke-width": 2 }));
      }
    }
    const highest = (row, column) => Math.max(...places(row, column).map((place) => conf[place])) / most;
    lossImage.under.replaceChildren(mapImage(cellMap(number, highest)), cellLines(scales[number]));
    lossImage.layer.replaceChildren(svg("pattern", { id: "hatched", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
      svg("rect", { width: 3, height: 6, fill: "#8aa0ff" })), ...marks);
    lossImage.drawing.setAttribute("aria-label", `Confidence loss of every cell of stride ${stride}: ${counts.positive} positive, ${counts.ignored} ignored`);
    said.textContent = `Positive: ${counts.positive}, ignored: ${counts.ignored}, of ${rows * columns * anchors.length} places. Brightest on any scale: ${digits(most, 4)}.`;
  }
  const said = el("p", { class: "muted", role: "status" });
  byId("loss-controls").append(choice.whole, said);
  byId("loss-map").append(lossImage.drawing);
  choice.list.selectedIndex = scales.length - 1;
  drawMap(scales.length - 1);
}
if (truth.losses) startLossMap();

for (const button of document.querySelectorAll("#verdicts [data-object]")) {
  button.addEventListener("click", () => { showObject(truth.objects[Number(button.dataset.object)]); goTo("assignment"); });
}
for (const button of document.querySelectorAll("#verdicts [data-place]")) {
  button.addEventListener("click", () => decodeHere(button.dataset.place.split(",").map(Number)));
}
