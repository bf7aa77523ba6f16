"""Add NMS to an exported graph, with the standard operator NonMaxSuppression.

Legend: **B** batch, **K** candidates, **C** classes, **H**, **W** input height and width, **N** detections in
all images, **M** detections in the image that has the most.

```
  candidates ─► class and score ─► NonMaxSuppression ─► by score ─► by image ─► detections (B, M, 6)
  (B, K, 5+C)   of each candidate   within each class   (N, 6)                  xyxy, score, class
```
"""

import json
from dataclasses import dataclass
from typing import Self

import numpy as np
import onnx
from onnx import TensorProto, helper

from lookonce.darknet.onnx_nodes import Nodes
from lookonce.metadata import ModelInfo
from lookonce.runtime.options import IOU, Conf, DetectOptions

METADATA_KEY = "lookonce.nms"  # metadata key of the thresholds; `conf` is a list by class if they differ
OUTPUT = "detections"
COLUMNS = 6  # xyxy, score, class
MOST = 1 << 20  # detections per class and image; more than there are candidates at 4096x4096


@dataclass(frozen=True, slots=True)
class GraphNms:
    """The thresholds of NMS in a graph, as in `runtime.postprocess.postprocess`.

    Attributes:
        conf: (C,) score threshold of each class.
        iou: IoU threshold; a box that overlaps a better one by more is dropped.
    """

    conf: tuple[float, ...]
    iou: float = IOU

    @classmethod
    def of_model(cls, info: ModelInfo, conf: Conf | None = None, iou: float = IOU) -> Self:
        """Return the given thresholds, or those of the model; see `DetectOptions`.

        Raises:
            ConfigError: a value is out of range, or there is no such class.
        """
        return cls(DetectOptions(conf=conf, iou=iou).for_model(info).thresholds_of(info.names), iou)


def add_nms(model: onnx.ModelProto, nms: GraphNms) -> None:
    """Replace the output `candidates` (B, K, 5+C) of a graph with `detections` (B, M, 6), in place.

    Rows are by descending score; an image with fewer than M detections has rows of zeros at the end.

    As in `postprocess`, a candidate only counts for its most probable class, and boxes are clipped before
    NMS; here at the border of the input, because the graph has no size of the image.
    """
    nodes = Nodes(model.graph)
    nodes.prefix = "nms"
    (candidates,) = (output.name for output in model.graph.output)
    classes = int(model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value) - 5
    boxes, objectness, probabilities = nodes.add_many(
        "Split", candidates, nodes.integers(4, 1, classes), outputs=3, axis=-1
    )

    image = nodes.graph.input[0]
    height = 2 if image.type.tensor_type.elem_type == TensorProto.FLOAT else 1  # planes: (B, 3, H, W)
    shape = nodes.add("Shape", image.name)
    border = nodes.add("Gather", shape, nodes.integers(height + 1, height, height + 1, height))  # W, H, W, H
    inside = nodes.add("Min", boxes, nodes.add("Cast", border, to=TensorProto.FLOAT))
    boxes = nodes.add("Max", inside, nodes.floats(0))  # (B, K, 4), clipped

    # score of each candidate for its most probable class, and 0 for all others
    labels = nodes.add("ArgMax", probabilities, axis=-1, keepdims=0)  # (B, K), the first on ties
    best = nodes.add("ReduceMax", probabilities, axes=[-1], keepdims=1)
    scores = nodes.add("Mul", objectness, best)  # (B, K, 1)
    of_label = nodes.constant(np.array(classes)), nodes.constant(np.array([0, 1], np.float32))
    spread = nodes.add("Mul", nodes.add("OneHot", labels, *of_label), scores)  # (B, K, C)
    by_class = nodes.add("Transpose", spread, perm=[0, 2, 1])  # (B, C, K)

    conf = np.array(nms.conf, np.float32)
    if len(set(nms.conf)) > 1:  # the operator has one threshold for all classes
        own = nodes.constant(conf[:, None])  # (C, 1)
        by_class = nodes.add("Where", nodes.add("Greater", by_class, own), by_class, nodes.floats(0))
        conf = np.zeros(1, np.float32)
    kept = nodes.add(
        "NonMaxSuppression", boxes, by_class, nodes.integers(MOST),
        nodes.constant(np.array([nms.iou], np.float32)), nodes.constant(conf[:1]),
    )  # fmt: skip
    number, label, candidate = nodes.add_many(
        "Split", kept, nodes.integers(1, 1, 1), outputs=3, axis=1
    )  # (N, 1)
    where = nodes.add("Concat", number, candidate, axis=1)  # (N, 2)
    parts = [
        nodes.add("GatherND", boxes, where),
        nodes.add("GatherND", scores, where),
        nodes.add("Cast", label, to=TensorProto.FLOAT),
    ]
    rows = nodes.add("Concat", *parts, axis=1)

    count = nodes.add("Gather", nodes.add("Shape", rows), nodes.integers(0))
    column = nodes.add("Gather", rows, nodes.constant(np.array(4)), axis=1)
    order = nodes.add_many("TopK", column, count, outputs=2, axis=0)[1]  # by descending score
    ordered, numbers = (nodes.add("Gather", each, order, axis=0) for each in (rows, number))

    batch = nodes.add("Gather", shape, nodes.integers(0))
    flat = nodes.add("Reshape", numbers, nodes.integers(-1)), batch, nodes.constant(np.array([0, 1]))
    belongs = nodes.add("OneHot", *flat)  # (N, B): whether a row belongs to an image
    earlier = nodes.add("CumSum", belongs, nodes.constant(np.array(0)), exclusive=1)  # earlier rows per image
    place = nodes.add("GatherElements", earlier, numbers, axis=1)  # (N, 1)
    most = nodes.add("ReduceMax", nodes.add("ReduceSum", belongs, nodes.integers(0), keepdims=0), keepdims=1)
    sides = nodes.add("Concat", batch, most, nodes.integers(COLUMNS), axis=0)
    zero = helper.make_tensor("zero", TensorProto.FLOAT, [1], [0])
    empty = nodes.add("ConstantOfShape", sides, value=zero)  # (B, M, 6)
    filled = nodes.add("ScatterND", empty, nodes.add("Concat", numbers, place, axis=1), ordered)
    model.graph.node.append(helper.make_node("Identity", [filled], [OUTPUT], name=OUTPUT))
    size = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or "batch"
    del model.graph.output[:]
    value = helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, [size, "found", COLUMNS])
    model.graph.output.append(value)
    entry = model.metadata_props.add()
    given = nms.conf if len(set(nms.conf)) > 1 else nms.conf[0]
    entry.key, entry.value = METADATA_KEY, json.dumps({"conf": given, "iou": nms.iou})
