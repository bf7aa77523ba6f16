"""The description of each stage: its text, its formulas, and the function that computes it."""

from lookonce.explain.records import Words
from lookonce.networks import NETWORKS

_READABLE = {
    "yolov3": "lookonce.model.yolov3.YOLOv3.forward",
    "yolov3-spp": "lookonce.model.yolov3.YOLOv3.forward",
    "yolov3-tiny": "lookonce.model.tiny.YOLOv3Tiny.forward",
    "yolov3-tiny-3l": "lookonce.model.tiny.YOLOv3Tiny3l.forward",
}
_ANY_NETWORK = "lookonce.darknet.onnx_graph.build_onnx"  # a network without a readable module is only a graph

_STAGES = (
    (
        "input",
        "Input",
        "The image is scaled to fit into the network's input without changing its aspect ratio. Gray fills "
        "the rest, on two sides. Sizes and pads are whole pixels; the same numbers map boxes back.",
        ("x' = x * scale + left", "y' = y * scale + top"),
        "lookonce.geometry.letterbox.Letterbox.fit",
    ),
    (
        "network",
        "Network",
        "The backbone turns pixels into features and halves the resolution step by step. The neck upsamples "
        "the coarsest features and joins them with earlier ones, so that the fine scales have context for "
        "small objects. Each head is one 1x1 convolution.",
        ("multiply-adds = H * W * out * in / groups * size * size",),
        _ANY_NETWORK,
    ),
    (
        "heads",
        "Heads",
        "Each head outputs one raw map. Per cell and anchor it holds four numbers for a box, one for "
        "objectness and one per class. Objectness is high if the center of an object lies in this cell and "
        "this anchor fits it.",
        ("raw map: S x T cells * A anchors * (5 + C) numbers", "objectness = σ(to)"),
        "lookonce.model.decode.by_anchor",
    ),
    (
        "decode",
        "Decode",
        "The first two numbers place the center within the cell, and the next two scale the anchor. Class "
        "probabilities are independent of each other. The score of a box is its objectness times the "
        "probability of its best class.",
        (
            "x = (column + σ(tx)) * stride,  y = (row + σ(ty)) * stride",
            "w = anchor width * exp(tw),  h = anchor height * exp(th)",
            "score = σ(to) * max σ(class logits)",
        ),
        "lookonce.model.decode.decode_boxes",
    ),
    (
        "nms",
        "Candidates and NMS",
        "Predictions with a score above the threshold are candidates. Several cells and anchors often "
        "predict the same object: the best box is kept, and every other box of its class that overlaps it by "
        "more than the IoU threshold is removed. This repeats with the next best box that is left.",
        ("score > score threshold", "removed: IoU(box, better box of its class) > IoU threshold"),
        "lookonce.runtime.postprocess.postprocess",
    ),
    (
        "assignment",
        "Label assignment",
        "In training, each object is assigned to anchors. Every anchor of every scale is centered on the "
        "cell with the object's center. Anchors that fit become positive; if none fits, the best one "
        "does. If two objects choose the same cell and anchor, the later one keeps it.",
        ("positive, by the write-up's rule: IoU(object, anchor on its cell) > 0.3, else the largest",),
        "lookonce.data.assign.assign",
    ),
    (
        "losses",
        "Losses",
        "The box loss and the class loss count positives only; a small object has up to twice the weight of "
        "a large one. The objectness loss counts every cell and anchor, except background whose box overlaps "
        "an object by the ignore threshold or more. All terms are summed over the image; the loss of a batch "
        "is the mean of its images.",
        (
            "loss = giou + conf + prob",
            "giou = Σ positives (2 - w*h / input area) * (1 - GIoU)",
            "GIoU = IoU - (E - U) / E",
            "conf = Σ cells, anchors (o - p)² * BCE(o, p),  p = σ(to)",
            "o = 1 or IoU(box, object) on positives, 0 elsewhere",
            "(o - p)²: focal factor, gamma 2 (Lin et al. 2017)",
            "conf = 0 if not positive and best IoU >= threshold",
            "prob = Σ positives Σ classes BCE(y, σ(t))",
            "y = (1 - s) * one-hot + s / C,  s = label smoothing",
            "BCE(y, p) = -y * log(p) - (1 - y) * log(1 - p)",
            "-log σ(t) = log(1 + exp(-t)),  from the raw number t",
        ),
        "lookonce.train.loss.compute_losses",
    ),
    (
        "verdicts",
        "Where each object was lost",
        "A detection matches the object of its class that it overlaps most, if their IoU is 0.5 or more. "
        "Each object without a detection gets exactly one stage: the last one that its best prediction "
        "reached. Each detection without an object gets the reason it is wrong.",
        ("found: IoU >= 0.5, correct class, the best such detection",),
        "lookonce.explain.stages.object_verdicts",
    ),
)


def stage_words(architecture: str) -> tuple[Words, ...]:
    """Return the descriptions of all stages, in order, for a network of the given architecture."""
    network = _ANY_NETWORK
    if architecture in NETWORKS:
        network = _READABLE[architecture]
    found = []
    for stage, title, text, formula, any_function in _STAGES:
        function = network if stage == "network" else any_function
        parts = function.split(".")
        module = parts[: -2 if parts[-2][0].isupper() else -1]  # modules are lower case, classes are not
        found.append(Words(stage, title, text, formula, function, f"src/{'/'.join(module)}.py"))
    return tuple(found)
