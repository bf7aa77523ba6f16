"""Each stage in words: what happens, the formula, and the function that does it."""

from lookonce.explain.records import Words

# The network's own function, by architecture; of any other `.cfg` there is a graph and no readable network.
_NETWORKS = {
    "yolov3": "lookonce.model.yolov3.YOLOv3.forward",
    "yolov3-spp": "lookonce.model.yolov3.YOLOv3.forward",
    "yolov3-tiny": "lookonce.model.tiny.YOLOv3Tiny.forward",
}
_ANY_NETWORK = "lookonce.darknet.onnx_graph.build_onnx"

_STAGES = (
    (
        "input",
        "Input",
        "The image is shrunk or enlarged until it fits into the network's input, keeping its shape; grey "
        "fills what is left on two sides. Sizes and pads are whole pixels. The same numbers bring the boxes "
        "back.",
        ("x' = x * scale + left", "y' = y * scale + top"),
        "lookonce.geometry.letterbox.Letterbox.fit",
    ),
    (
        "network",
        "Network",
        "A backbone turns pixels into features, halving the resolution step by step. The neck takes the "
        "coarsest features, and on the way to finer scales joins them with earlier ones, so that small "
        "objects are seen with an idea of their surroundings. Each head is one 1x1 convolution.",
        ("multiply-adds = H * W * out * in / groups * size * size",),
        _ANY_NETWORK,
    ),
    (
        "heads",
        "Heads",
        "Every head gives one raw map. For each cell and each anchor it holds four numbers for a box, one "
        "for objectness and one for each class. Objectness answers: is the middle of an object in this "
        "cell, and is this anchor the one for it?",
        ("raw map: S x T cells * A anchors * (5 + C) numbers", "objectness = σ(to)"),
        "lookonce.model.decode.by_anchor",
    ),
    (
        "decode",
        "Decode",
        "The first two numbers place the centre within the cell, the next two stretch the anchor. Classes "
        "are independent of each other. A box's score is its objectness times the probability of its best "
        "class.",
        (
            "x = (column + σ(tx)) * stride,  y = (row + σ(ty)) * stride",
            "w = anchor width * exp(tw),  h = anchor height * exp(th)",
            "score = σ(to) * max σ(class logits)",
        ),
        "lookonce.model.decode.decode_boxes",
    ),
    (
        "nms",
        "Candidates and suppression",
        "What scores above the confidence is a candidate. Several cells and anchors often find the same "
        "object: the best box stays, and every other box of its class goes whose overlap with it is above "
        "the IoU threshold. Then the next best box does the same.",
        ("score > confidence", "gone: IoU(box, better box of its class) > threshold"),
        "lookonce.runtime.postprocess.postprocess",
    ),
    (
        "assignment",
        "Label assignment",
        "In training, each object asks some anchors to find it. An anchor is laid on the middle of the cell "
        "that holds the object's centre; every one with an IoU above 0.3 becomes positive, on any scale; if "
        "none is, the best of all does. Of two objects on one cell and anchor the later one stays.",
        ("positive: IoU(object, anchor on its cell) > 0.3, else the largest",),
        "lookonce.data.assign.assign",
    ),
    (
        "losses",
        "Losses",
        "A positive pays for the distance between its box and the object, small objects up to twice as much, "
        "and for each class. Every place pays for its objectness, the less the nearer it is; background that "
        "fits an object well although it was not asked is left alone.",
        (
            "giou = Σ positives (2 - w*h / input area) * (1 - GIoU)",
            "GIoU = IoU - (E - U) / E",
            "conf = Σ places (o - p)² * BCE(o, p), background only where its best IoU < ignore threshold",
            "prob = Σ positives, classes BCE(smoothed target)",
        ),
        "lookonce.train.loss.compute_losses",
    ),
    (
        "verdicts",
        "Where it was lost",
        "A detection stands for the object of its class that it overlaps most, if by an IoU of 0.5 or more. "
        "For each object that no detection stands for, and each detection that stands for none, exactly one "
        "stage is named: the last one that its best prediction reached.",
        ("found: IoU >= 0.5, right class, the best such detection",),
        "lookonce.explain.stages.judge_objects",
    ),
)


def stage_words(architecture: str) -> tuple[Words, ...]:
    """All stages, in the order of the pipeline, of a network of this architecture."""
    functions = {"network": _NETWORKS.get(architecture, _ANY_NETWORK)}
    return tuple(
        Words(stage, title, text, formula, name := functions.get(stage, function), _path(name))
        for stage, title, text, formula, function in _STAGES
    )


def _path(function: str) -> str:
    """The file in the repository: modules are lower case, and what follows them is the function."""
    parts = function.split(".")
    module = parts[: -2 if parts[-2][0].isupper() else -1]
    return f"src/{'/'.join(module)}.py"
