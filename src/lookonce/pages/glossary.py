"""Explanations of the terms used in reports, for the hints on the pages and for docs/glossary.md."""

from markupsafe import Markup

GLOSSARY = {
    "anchor": "A box of fixed width and height, in pixels of the network input. The network predicts each "
    "object as a change of the anchor that fits it best; yolov3-tiny has 6 anchors, yolov3 has 9.",
    "AP": "Average precision: precision averaged over all levels of recall, from 0 to 1. It needs no "
    "threshold; 1 means that every object is found before the first false detection. Without a number, AP "
    "averages over ten IoU thresholds, 0.50 to 0.95.",
    "AP50": "AP with an IoU threshold of 0.5: approximate boxes are good enough.",
    "assignment": "The choice of the cells and anchors that must predict each object in training. "
    "`lookonce explain --truth` shows it for one image.",
    "augmentation": "Random changes to the training images, such as flips and crops, which teach the "
    "network to ignore such differences.",
    "background": "An image, or a part of one, without objects. A background detection is on no object.",
    "batch": "The images that the network processes together in one training step.",
    "bias of a count": "Counted minus annotated objects, averaged over the images: above 0 the model "
    "counts too many, below 0 too few. Errors in both directions cancel out.",
    "calibration": "How well scores match the share of correct detections: of those with scores around 0.8, "
    "80% should be correct.",
    "candidate": "A predicted box whose score is above the threshold. The candidates that NMS keeps are the "
    "detections.",
    "class": "A kind of object that the model knows, such as dog. Each box has one.",
    "confusion matrix": "A table of annotated and detected classes, which shows which classes are mistaken "
    "for each other.",
    "detection": "A box that the model predicts, with its class and score.",
    "duplicate": "A second detection of the same object.",
    "epoch": "One pass over all training images.",
    "expected calibration error": "The average distance between the score of a detection and the share of "
    "correct detections among those with about that score.",
    "F1": "One number for precision and recall together, their harmonic mean: high only if both are high.",
    "false detection": "A detection that is not correct: wrong class, loose box, duplicate, or no object "
    "there.",
    "ground truth": "The annotated boxes, which detections are compared with.",
    "in use": "Above the recommended score threshold. Detections that are not in use count only for AP.",
    "interval": "A range that contains the true value in 95 of 100 measurements, found by drawing images at "
    "random many times. The fewer the images, the wider it is.",
    "IoU": "Intersection over union: the area that two boxes share, divided by the area that they cover "
    "together. 1 means equal, 0 no overlap. A detection is correct if it has an IoU of at least "
    "0.5 with an object of its class, and no better detection has taken that object.",
    "letterbox": "Fitting an image into the network input with its proportions kept, and filling the "
    "rest with gray.",
    "localization": "An error of position: the correct class, but a loose box, with an IoU of 0.1 to 0.5.",
    "loss": "The error that training minimizes: the distance between the network's output and the "
    "annotations, with terms for boxes, objectness and classes.",
    "mean absolute error": "The difference between counted and annotated objects, averaged over the "
    "images without regard to its sign: how far off the count of one image is.",
    "missed": "An object without a detection.",
    "NMS": "Non-maximum suppression: of several boxes on one object, the one with the highest score stays.",
    "objectness": "The predicted probability that a cell and anchor contain an object, whatever its class.",
    "precision": "The share of the detections that are correct.",
    "raw map": "The output of the network at one stride, before decoding: for every cell and anchor, four "
    "numbers for a box, one for objectness and one per class.",
    "recall": "The share of the objects that are found.",
    "score": "The predicted probability of a detection, from 0 to 1: objectness times class probability.",
    "split": "A part of a data set with one purpose: train to learn from, val (validation) to choose "
    "settings, test to measure once at the end.",
    "stride": "The side of a cell in pixels of the network input. yolov3 has strides of 8, 16 and 32: small "
    "cells for small objects, large cells for large ones.",
    "threshold": "The score above which a detection counts (--conf). A lower one finds more objects "
    "and gives more false detections.",
    "validation": "Evaluation during training, on images that the model does not learn from.",
}


class GlossaryTerms:
    """Links terms on a page to their explanations, and records which were used."""

    def __init__(self) -> None:
        """Start without any terms used."""
        self._used: set[str] = set()

    def __call__(self, term: str, shown: str = "") -> Markup:
        """Return a link from a term, or from `shown` instead, to its explanation.

        Raises:
            KeyError: the glossary does not have the term.
        """
        GLOSSARY[term]
        self._used.add(term)
        target = anchor(term)
        return Markup('<a class="term" href="#{0}" aria-describedby="{0}">{1}</a>').format(
            target, shown or term
        )

    def used(self) -> list[tuple[str, str, str]]:
        """Return (id, term, explanation) of the terms used so far, in the order of the glossary."""
        return [(anchor(term), term, text) for term, text in GLOSSARY.items() if term in self._used]


def anchor(term: str) -> str:
    """Return the id of a term's explanation on a page."""
    return f"word-{term.lower().replace(' ', '-')}"
