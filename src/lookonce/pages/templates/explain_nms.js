// Stage 5: thresholds, and the detections at them.

const MOST_ROWS = 200;
const sayFound = announcer("nms-status");
const foundImage = imageWithLayers("image", { role: "group", "aria-label": "The image with its detections" });
const least = data.candidates.complete_from;
const own = data.nms.score_thresholds;
// The thresholds of a model may differ by class; the slider then sets one threshold for all classes.
const differ = new Set(own).size > 1;
const lowest = differ ? Math.max(least, Number(digits(Math.min(...own), 3))) : own[0];
const setting = { ...data.nms, score_threshold: lowest, showSuppressed: false, candidate: null };
let result = suppress(setting.score_thresholds, setting.iou_threshold);

/** A slider with a field beside it for exact numbers. */
function slider(label, name, low) {
  const limits = { min: low, max: 1, step: 0.005, "aria-label": label };
  const range = el("input", { type: "range", ...limits, oninput: () => changed(Number(range.value)) });
  const field = el("input", { type: "number", ...limits, step: "any", onchange: () => changed(Math.min(Math.max(Number(field.value) || 0, low), 1)) });
  const changed = (value) => {
    setting[name] = value;
    if (name === "score_threshold") setThresholds(names.map(() => value));
    [range.value, field.value] = [value, value];
    showFound();
  };
  [range.value, field.value] = [setting[name], setting[name]];
  range.setAttribute("id", name);
  return el("div", { class: "slider" }, el("label", { for: name }, label), el("div", {}, range, field));
}

const suppressedToo = el("input", { type: "checkbox", onchange: () => {
  setting.showSuppressed = suppressedToo.checked;
  drawFound();
} });
const ownToo = el("button", { type: "button", "aria-pressed": "true", onclick: () => {
  setThresholds(own);
  showFound();
} }, "one threshold per class, as in the summary");

function setThresholds(values) {
  setting.score_thresholds = values;
  ownToo.setAttribute("aria-pressed", String(values === own));
}

byId("thresholds").append(
  ...(differ ? [ownToo] : []),
  slider(differ ? "or one score threshold for all" : "score threshold", "score_threshold", least),
  slider("IoU threshold", "iou_threshold", 0),
  el("label", { class: "check" }, suppressedToo, "show suppressed boxes"));
byId("found").append(foundImage.drawing);

const labelOf = (index) => names[candidates.labels[index]];
const scoreOf = (index) => digits(candidates.scores[index], 3);

/** Filter and suppress at the current thresholds, and show the outcome. */
function showFound() {
  result = suppress(setting.score_thresholds, setting.iou_threshold);
  if (!result.above.includes(setting.candidate)) setting.candidate = null;
  drawFound();
  drawFunnel();
  listCandidates();
  showCandidate();
  sayFound(`${result.above.length} candidates, ${result.suppressedBy.size} suppressed, ${result.kept.length} detections.`);
}

function drawFound() {
  const { candidate } = setting, gone = setting.showSuppressed ? [...result.suppressedBy.keys()] : [];
  const winner = result.suppressedBy.get(candidate)?.by;
  const marked = new Set([candidate, winner].filter((index) => index != null));
  const hit = (index) => svg("rect", { class: "hit", x: boxOf(index)[0], y: boxOf(index)[1], width: boxOf(index)[2] - boxOf(index)[0],
    height: boxOf(index)[3] - boxOf(index)[1], "data-candidate": index, onclick: () => chooseCandidate(index) });
  const dim = marked.size ? 0.35 : 1;
  // Large boxes first, so that small ones within them can be clicked.
  const bySize = (list) => [...list].sort((a, b) => area(boxOf(b)) - area(boxOf(a)));
  foundImage.layer.replaceChildren(
    ...bySize(gone).flatMap((index) => [outline(boxOf(index), colorsOf(candidates.labels[index]).paper, { class: "dashed thin", opacity: 0.8 * dim }), hit(index)]),
    ...bySize(result.kept).map((index) => outline(boxOf(index), colorsOf(candidates.labels[index]).paper, { class: result.kept.length > 40 ? "thin" : "", opacity: marked.has(index) ? 1 : dim })),
    ...bySize(result.kept).map(hit),
    ...(result.kept.length <= 40 ? result.kept.filter((index) => !marked.size || marked.has(index)).map((index) =>
      boxLabel(boxOf(index), `${labelOf(index)} ${digits(candidates.scores[index], 2)}`, colorsOf(candidates.labels[index]), "image", result.kept.length > 12 ? 52 : 38)) : []),
    ...(winner === undefined ? [] : [outline(boxOf(candidate), colorsOf(candidates.labels[candidate]).paper, { class: "dashed" })]));
}

/** Draw the numbers from all predictions to the detections, as bars on a logarithmic scale. */
function drawFunnel() {
  const stages = [
    [data.candidates.total, "predictions: every cell and anchor"],
    [candidates.count + data.candidates.left_out, `in the image with a score above ${data.candidates.floor}`],
    [result.above.length, "above the score threshold"],
    [result.kept.length, "detections, after non-maximum suppression"],
  ];
  const length = (count) => 100 * Math.log1p(count) / Math.log1p(data.candidates.total);
  byId("funnel").replaceChildren(...stages.map(([count, words]) =>
    el("li", {}, el("b", {}, thousands(count)), words, el("span", { class: "bar", style: `width: ${length(count).toFixed(1)}%` }))));
}

/** List the candidates above the score threshold, with the detections that suppress them. */
function listCandidates() {
  const numberOf = new Map(result.kept.map((index, number) => [index, number]));
  const rows = result.above.slice(0, MOST_ROWS).map((index) => {
    const lost = result.suppressedBy.get(index);
    return { chosen: index === setting.candidate, cells: [
      el("button", { type: "button", class: "link", "data-candidate": index, onclick: () => chooseCandidate(index) }, labelOf(index)), scoreOf(index),
      lost ? `suppressed by detection ${numberOf.get(lost.by)}` : el("strong", {}, `detection ${numberOf.get(index)}`),
      lost ? digits(lost.iou, 3) : "", pixels(boxOf(index)),
    ] };
  });
  const more = result.above.length - rows.length;
  byId("candidates").replaceChildren(table(
    `${result.above.length} candidates: ${result.kept.length} kept, ${result.suppressedBy.size} suppressed.${more > 0 ? ` The first ${MOST_ROWS} are listed.` : ""}`,
    ["class", "#score", "outcome", "#at IoU", "#left, top, right, bottom"], rows));
}

function chooseCandidate(index) {
  setting.candidate = index;
  drawFound();
  showCandidate();
  sayFound(byId("candidate").querySelector("h3").textContent);
  // The list is not replaced, so that the pressed button keeps the focus.
  for (const button of byId("candidates").querySelectorAll("button")) {
    button.closest("tr").classList.toggle("chosen", Number(button.dataset.candidate) === index);
  }
}

/** Show why the chosen candidate is kept or suppressed, with the numbers. */
function showCandidate() {
  const index = setting.candidate, panel = byId("candidate");
  if (index === null) {
    panel.replaceChildren(el("p", {}, "Choose a candidate in the list, or a box in the image, to see why it is kept or suppressed."));
    return;
  }
  const lost = result.suppressedBy.get(index), won = result.above.filter((other) => result.suppressedBy.get(other)?.by === index);
  const lines = [];
  if (lost) {
    const { intersection, union, iou } = overlap(boxOf(lost.by), boxOf(index));
    lines.push(el("p", {}, `Detection ${result.kept.indexOf(lost.by)} (${labelOf(lost.by)}, score ${scoreOf(lost.by)}) is better and overlaps it:`),
      el("p", { class: "sum" }, `IoU = intersection / union = ${digits(intersection, 0)} / ${digits(union, 0)} = ${digits(iou, 4)} > ${setting.iou_threshold}`));
  } else {
    lines.push(el("p", {}, `No better box of its class overlaps it by more than ${setting.iou_threshold}. It suppresses ${won.length} ${won.length === 1 ? "box" : "boxes"}.`));
  }
  const [number, row, column, anchor] = positionOf(index);
  panel.replaceChildren(
    el("h3", {}, `${labelOf(index)}, score ${scoreOf(index)}: ${lost ? "suppressed" : `detection ${result.kept.indexOf(index)}`}`), ...lines,
    el("p", { class: "muted" }, `From stride ${scales[number].stride}, row ${row}, column ${column}, anchor ${anchorText(scales[number].anchors[anchor])}.`),
    el("div", { class: "actions" }, el("button", { type: "button", onclick: () => decodeHere(positionOf(index)) }, "Decode this cell"),
      ...(lost ? [el("button", { type: "button", onclick: () => chooseCandidate(lost.by) }, "See the better box")] : [])));
}

showFound();
