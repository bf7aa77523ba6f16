// The numbers of the page, and the arithmetic of the detector, in float32 where the detector uses float32.

const data = JSON.parse(byId("data").textContent);
const { names, scales, layers } = data;
const f32 = Math.fround;
const LARGEST_LOG_SIDE = 10;  // model/decode.py
const SMALLEST_AREA = f32(1e-9);  // geometry/boxes.py

/** The array that `explain/packing.py` packed: little-endian, like all machines that run a current browser. */
function unpacked({ dtype, base64 }) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const types = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array };
  return new types[dtype](bytes.buffer);
}

for (const scale of scales) {
  scale.raw = unpacked(scale.raw);
  [scale.rows, scale.columns] = scale.grid;
}
const candidates = {
  positions: unpacked(data.candidates.positions),
  boxes: unpacked(data.candidates.boxes),
  scores: unpacked(data.candidates.scores),
  labels: unpacked(data.candidates.labels),
};
candidates.count = candidates.scores.length;

/** @param {number} x */
const sigmoid = (x) => 1 / (1 + Math.exp(-x));

/** The factor for a side of the anchor. @param {string} form see geometry/decode.py @param {number} t */
function sideFactor(form, t) {
  if (form === "new_coords") return (2 * sigmoid(t)) ** 2;
  return Math.exp(Math.min(Math.max(t, -LARGEST_LOG_SIDE), LARGEST_LOG_SIDE));
}

/** The index in the raw map of a scale at which the numbers of a position begin. @param {number[]} position */
function rawAt([number, row, column, anchor]) {
  const scale = scales[number];
  return ((row * scale.columns + column) * scale.anchors.length + anchor) * (5 + names.length);
}

/**
 * Decode one position, as `model/decode.py` decodes all of them.
 * @param {number[]} position scale, row, column, anchor
 */
function decode(position) {
  const [number, row, column, anchor] = position;
  const { raw, stride, anchors, scale_x_y: stretch, form } = scales[number];
  const start = rawAt(position);
  const [tx, ty, tw, th, to] = raw.subarray(start, start + 5);
  const logits = raw.subarray(start + 5, start + 5 + names.length);
  const within = (t) => sigmoid(t) * stretch - (stretch - 1) / 2;
  const side = (anchorSide, t) => anchorSide * sideFactor(form, t);
  const offset = [within(tx), within(ty)];
  const center = [(column + offset[0]) * stride, (row + offset[1]) * stride];
  const sides = [side(anchors[anchor][0], tw), side(anchors[anchor][1], th)];
  const box = [center[0] - sides[0] / 2, center[1] - sides[1] / 2, center[0] + sides[0] / 2, center[1] + sides[1] / 2];
  // in float32, several large logits may all give 1; the first of these classes is the best
  const highest = Math.max(...logits), powers = Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = powers.reduce((a, b) => a + b, 0);
  const probabilities = form === "region" ? powers.map((power) => f32(power / sum))
    : Array.from(logits, (logit) => f32(sigmoid(logit)));
  const label = probabilities.indexOf(Math.max(...probabilities));
  const objectness = sigmoid(to);
  return {
    position, raw: [tx, ty, tw, th, to], logits, stride, anchor: anchors[anchor], stretch, form, offset, center, sides, box,
    imageBox: boxOut(box), objectness, probabilities, label, score: objectness * probabilities[label],
  };
}

/** A box in image pixels, clipped to the image. @param {number[]} box xyxy in input pixels */
function boxOut(box) {
  const [down, across] = data.input.scale, [left, top] = data.input.pads, [height, width] = data.input.source;
  const cut = (value, most) => Math.min(Math.max(value, 0), most);
  return [
    cut((box[0] - left) / across, width), cut((box[1] - top) / down, height),
    cut((box[2] - left) / across, width), cut((box[3] - top) / down, height),
  ];
}

/** The box (xyxy, image pixels) of a candidate. */
const boxOf = (index) => candidates.boxes.subarray(4 * index, 4 * index + 4);
/** The position of a candidate in the network. */
const positionOf = (index) => Array.from(candidates.positions.subarray(4 * index, 4 * index + 4));

function area(box) {
  return f32(f32(Math.max(f32(box[2] - box[0]), 0)) * f32(Math.max(f32(box[3] - box[1]), 0)));
}

/** log(1 + exp(x)), without overflow: -log σ(-x). */
const softplus = (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));

/** Intersection, union and IoU of two float32 boxes, rounded at every step as in NumPy. */
function overlap(a, b) {
  const width = Math.max(f32(Math.min(a[2], b[2]) - Math.max(a[0], b[0])), 0);
  const height = Math.max(f32(Math.min(a[3], b[3]) - Math.max(a[1], b[1])), 0);
  const intersection = f32(width * height);
  const union = f32(f32(area(a) + area(b)) - intersection);
  return { intersection, union, iou: f32(intersection / Math.max(union, SMALLEST_AREA)) };
}

/** The area of the smallest box around both, and GIoU. */
function generalized(a, b) {
  const { intersection, union, iou } = overlap(a, b);
  const enclosing = (Math.max(a[2], b[2]) - Math.min(a[0], b[0])) * (Math.max(a[3], b[3]) - Math.min(a[1], b[1]));
  return { intersection, union, iou, enclosing, giou: iou - (enclosing - union) / Math.max(enclosing, SMALLEST_AREA) };
}

// Highest score first. Sorting is stable, so candidates with equal scores keep their order.
const ranked = Array.from({ length: candidates.count }, (_, index) => index)
  .sort((a, b) => candidates.scores[b] - candidates.scores[a]);

/**
 * Filter and suppress the candidates, as in `runtime/postprocess.py`.
 * @param {number[]} scores score threshold of each class; kept scores are above it
 * @param {number} iou IoU threshold; a box with a higher IoU with a better box of its class is suppressed
 * @returns {Object} above, kept: candidate indices by descending score; suppressedBy: index -> { by, iou }
 */
function suppress(scores, iou) {
  const least = scores.map(f32), most = f32(iou);  // NumPy also compares in float32
  const above = ranked.filter((index) => candidates.scores[index] > least[candidates.labels[index]]);
  const kept = [], suppressedBy = new Map();
  for (const index of above) {
    const found = kept.find((better) => candidates.labels[better] === candidates.labels[index]
      && overlap(boxOf(better), boxOf(index)).iou > most);
    if (found === undefined) kept.push(index);
    else suppressedBy.set(index, { by: found, iou: overlap(boxOf(found), boxOf(index)).iou });
  }
  return { above, kept, suppressedBy };
}

// Four significant digits instead of four decimals, because a loss term may be tiny.
const compact = (value) => String(Number(value.toPrecision(4))).replace("-", "−");
const digits = (value, count) => value.toFixed(count).replace(/^-/, "−");
const pixels = (values) => Array.from(values, (value) => digits(value, 1)).join(", ");
const thousands = (value) => value.toLocaleString("en");
const shapeText = ([channels, height, width]) => `${height}×${width}×${channels}`;
const short = (value) => String(Number(value.toPrecision(6)));  // as Python's "g"
const anchorText = (sides) => sides.map((side) => Number(side.toPrecision(4))).join(" × ");
