"""Write an explanation as one HTML file.

The page shows the records. Its script only computes what the reader can change: the decoding of any cell, and
the score filter and NMS at other thresholds. The templates are `pages/templates/explain*`.
"""

from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np

from lookonce._files import write_text
from lookonce.draw.palette import PALETTE, ink_on
from lookonce.explain.drawing import arithmetic, blocks_of
from lookonce.explain.features import shrunk
from lookonce.explain.heads import grid_text
from lookonce.explain.packing import plain
from lookonce.explain.records import BELOW, Explanation, Features
from lookonce.explain.stages import DETECTION_STAGES, OBJECT_STAGES
from lookonce.pages.render import jpeg_url, render

LONGEST = 1024  # longer side of the image on the page, in pixels; all numbers refer to the original image
FEATURE_QUALITY = 75
NAMED = 6  # detections named in the summary
LARGEST_GRID = 26  # cells per side; a larger grid has too many numbers to show


def write_page(explanation: Explanation, path: Path) -> None:
    """Write the page; an existing file is replaced when the page is complete.

    Args:
        explanation: explanation to show; `features=True` adds feature maps to it.
        path: HTML file to write.
    """
    write_text(path, page(explanation))


def page(explanation: Explanation) -> str:
    """Return the HTML of the page."""
    layers, entry, found = explanation.layers, explanation.input, explanation.detections
    named = [
        f"{found.name_of(int(label))} {score:.2f}"
        for label, score in zip(found.labels[:NAMED], found.scores[:NAMED], strict=True)
    ]
    more = f" and {len(found) - len(named)} more" if len(found) > len(named) else ""
    counts: dict[str, int] = {}
    if explanation.truth is not None:  # the positions of each role in the loss
        scales = explanation.truth.scales
        for role in ("positive", "ignored"):
            counts[role] = sum(int(np.count_nonzero(getattr(scale, role))) for scale in scales)
        counts["background"] = sum(scale.positive.size for scale in scales) - sum(counts.values())
    return render(
        "explain.html",
        file=PurePath(entry.file).name or "an image",
        explanation=explanation,
        totals={
            "parameters": sum(layer.parameters for layer in layers),
            "trainable": sum(layer.trainable for layer in layers),
            "multiply_adds": sum(layer.multiply_adds for layer in layers),
            "predictions": explanation.candidates.total,
            "above": int(np.count_nonzero(explanation.nms.suppressed_by != BELOW)),
            "kept": len(explanation.nms.kept),
        },
        found=", ".join(named) + more if named else "nothing",
        image=jpeg_url(shrunk(entry.image, LONGEST)),
        pixels=jpeg_url(entry.pixels, quality=92),
        grids=[
            (scale, "\n".join(grid_text(*scale.grid)))
            for scale in explanation.scales
            if max(scale.grid) <= LARGEST_GRID
        ],
        object_stages=OBJECT_STAGES,
        detection_stages=DETECTION_STAGES,
        counts=counts,
        words={words.stage: words for words in explanation.words},
        data=page_data(explanation),
    )


def page_data(explanation: Explanation) -> dict[str, Any]:
    """Return the records for the page's script, without what it computes itself."""
    layers, entry = explanation.layers, explanation.input
    image, css = (3, *entry.target), "rgb({} {} {})".format
    return {
        "file": PurePath(entry.file).name,
        "names": list(explanation.info.names),
        "colors": [{"paper": css(*paper), "ink": css(*ink_on(paper))} for paper in PALETTE],
        "input": plain(entry),
        "layers": [
            {**plain(layer), "arithmetic": list(arithmetic(layer, layers, image))} for layer in layers
        ],
        "blocks": plain(blocks_of(layers)),
        "features": {each.layer: _strip(each) for each in explanation.features},
        "scales": [
            {name: value for name, value in plain(scale).items() if name not in ("boxes", "objectness")}
            for scale in explanation.scales
        ],
        "candidates": plain(explanation.candidates),
        "nms": {
            "score_thresholds": list(explanation.nms.score_thresholds),
            "iou_threshold": explanation.nms.iou_threshold,
        },
        "truth": plain(explanation.truth),
    }


def _strip(features: Features) -> dict[str, Any]:
    """Return the tiles (n, h, w) side by side in one image, and the numbers for cutting it into tiles."""
    count, height, width = features.tiles.shape
    joined = np.ascontiguousarray(features.tiles.transpose(1, 0, 2).reshape(height, count * width))
    colored = cv2.cvtColor(cv2.applyColorMap(joined, cv2.COLORMAP_VIRIDIS), cv2.COLOR_BGR2RGB)
    return {
        "url": jpeg_url(colored.astype(np.uint8, copy=False), FEATURE_QUALITY),
        "channels": list(features.channels),
        "low": features.low.tolist(),
        "high": features.high.tolist(),
        "size": [width, height],
    }
