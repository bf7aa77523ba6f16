"""Kinds of defects, each with its meaning, effect, remedy and severity.

They are in the order of the report: defects that need a decision come first, and harmful ones before others.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["person", "look", "info"]
SEVERITIES: dict[Severity, str] = {
    "person": "to decide",
    "look": "worth a look",
    "info": "for information",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """Kind of defect.

    Attributes:
        severity: `person` if a person must decide, `look` if one should look, or `info`.
        title: heading, in the plural.
        meaning: definition of the defect.
        why: effect on training or evaluation.
        remedy: advice on what to do.
        fixable: whether `--fix` corrects it.
    """

    severity: Severity
    title: str
    meaning: str
    why: str
    remedy: str
    fixable: bool = False


KINDS: dict[str, Kind] = {
    "missing": Kind(
        "person",
        "Missing images",
        "An annotation names an image that does not exist.",
        "Its boxes are lost for training.",
        "Restore the image, or remove its annotation.",
    ),
    "unreadable": Kind(
        "person",
        "Unreadable images",
        "The file is empty, damaged, too large to decode, or not an image.",
        "Its boxes are lost for training.",
        "Get the image again from its source.",
    ),
    "truncated": Kind(
        "person",
        "Truncated images",
        "The file ends before the image does, as after an interrupted download or copy.",
        "Many programs fill the missing rows with gray without an error, so the network trains on gray.",
        "Copy or download the image again.",
    ),
    "annotation": Kind(
        "person",
        "Unreadable annotations",
        "An annotation file is damaged, truncated, or refused as unsafe.",
        "Its image is skipped.",
        "Repair the file, or export it again.",
    ),
    "row": Kind(
        "person",
        "Unreadable rows",
        "A box does not follow the format.",
        "The object stays in the image without a box, so the network learns it as background.",
        "Correct the row.",
    ),
    "class": Kind(
        "person",
        "Unknown classes",
        "A box has a class that is not in the list of names: a typo, or an incomplete list.",
        "The box is skipped, and the object counts as background.",
        "Correct the name, add it to the list, or map it in the YAML: classes: {van: car, tree: null}.",
    ),
    "fractions": Kind(
        "person",
        "Fractions instead of pixels",
        "A box is given in fractions, or in percent, of the image's sides in a format that has pixels.",
        "The box is skipped: read as pixels it would be far too small.",
        "Multiply by the width and height of the image, or export as YOLO, whose numbers are fractions.",
    ),
    "meaning": Kind(
        "person",
        "Boxes of another form",
        "The numbers do not fit the form of the format, such as center and size, but fit another, such as "
        "corners.",
        "The box is skipped: read in the form of the format, it would be in the wrong place.",
        "Export from your tool again, or convert the numbers.",
    ),
    "orphan": Kind(
        "person",
        "Annotations without an image",
        "A file has boxes, but no image of its name was found.",
        "Its boxes are lost for training.",
        "Restore the image, rename one of the two, or remove the file.",
    ),
    "outside-splits": Kind(
        "person",
        "Files outside the splits",
        "Images or annotations lie outside the folders of the splits.",
        "They are not read.",
        "Move them into the folder of a split, or remove them.",
    ),
    "shared-id": Kind(
        "person",
        "Images that share an id",
        "Different images of one COCO file have the same id.",
        "It is unclear which boxes belong to which image, so all these images are skipped.",
        "Give each image its own id.",
    ),
    "shared-labels": Kind(
        "person",
        "Images that share one label file",
        "Two images differ only in their suffix, and one label file has their name.",
        "The first image keeps the boxes; the other one is skipped.",
        "Remove or rename one of the images.",
    ),
    "filename": Kind(
        "person",
        "XML that names another image",
        "<filename> names one image, but the XML file has the name of another.",
        "The boxes belong to one of them; lookonce uses the image with the name of the XML file.",
        "Correct <filename>, or rename the XML file.",
    ),
    "unread-format": Kind(
        "person",
        "Image formats that are not read",
        "The file is an image of a format that lookonce does not read.",
        "The image and its boxes are skipped.",
        "Convert the images to JPEG or PNG.",
    ),
    "unannotated": Kind(
        "person",
        "Images that nobody annotated",
        "No annotation belongs to the image, although the annotations of this set also cover empty images.",
        "The image is used as background. If it has objects, the network learns to overlook them.",
        "Annotate the image, or move it away.",
    ),
    "leak": Kind(
        "person",
        "The same image in two splits",
        "An image, or a copy of it, is in the training split and in one used for evaluation.",
        "The model is evaluated on images it was trained on, so the measured accuracy is too high.",
        "Keep it in one split, preferably the one used for evaluation.",
    ),
    "copies-differ": Kind(
        "person",
        "Copies with different boxes",
        "The same image occurs several times, with different boxes or classes.",
        "At most one of the annotations is correct; the others contradict it.",
        "Choose one and remove the others.",
    ),
    "wrong-size": Kind(
        "person",
        "Wrong size declared",
        "The annotation declares a size that is not that of the image.",
        "The boxes may belong to another version of the image, so the image is skipped, with all its boxes.",
        "Check whether the boxes fit. If they do, correct the size; if not, restore the image of the boxes.",
    ),
    "inverted": Kind(
        "person",
        "Inverted boxes",
        "The right edge is left of the left edge, or the bottom above the top.",
        "The box is skipped, and the object counts as background.",
        "Swap the corners; --fix does this.",
        fixable=True,
    ),
    "outside": Kind(
        "person",
        "Boxes outside the image",
        "No part of the box lies in the image.",
        "The box is skipped; it was probably meant for another image, or another size of this one.",
        "Draw it again.",
    ),
    "not-numbers": Kind(
        "person",
        "Boxes that are not numbers",
        "A coordinate is infinite or not a number.",
        "The box is skipped, and the object counts as background.",
        "Draw it again.",
    ),
    "unusable": Kind(
        "person",
        "Images without a usable box",
        "The image has boxes, but none can be used.",
        "The image is skipped: as a background image, it would teach the network to miss its objects.",
        "Draw the boxes again.",
    ),
    "class-not-trained": Kind(
        "person",
        "Classes evaluated but not trained",
        "A split used for evaluation has objects of a class that the training split lacks.",
        "The network cannot find them, so the AP of the class is 0.",
        "Split the images again, or add training images with this class.",
    ),
    "class-absent": Kind(
        "look",
        "Classes without a box in one source",
        "One source of the dataset YAML has no box of a class that many images of the other sources show.",
        "If these images show such objects, the network is trained to treat them as background.",
        "Annotate them, or list the classes that are annotated there: {path: ..., annotated: [...]}.",
    ),
    "doubtful-class": Kind(
        "look",
        "Boxes detected as another class",
        "The model finds an object of another class here, with a high score.",
        "Wrong labels teach the network to confuse classes.",
        "Check them; the highest scores come first.",
    ),
    "missing-box": Kind(
        "look",
        "Detections without a box",
        "The model finds an object with a high score, but there is no box.",
        "If the object exists, the network is trained to treat it as background.",
        "Check them, highest scores first; add missing boxes, or list such areas under ignore: in the YAML.",
    ),
    "unfound-box": Kind(
        "look",
        "Boxes without a detection",
        "The model finds nothing near this box.",
        "The box may be misplaced or superfluous, or the object may be hard to detect.",
        "Check them.",
    ),
    "concealed-damage": Kind(
        "look",
        "Images that end in one flat color",
        "The last rows of a JPEG all have one color, neither black nor white.",
        "A file damaged in the middle is decoded like this without an error.",
        "Check the bottom of the image; if it is damaged, get the image again.",
    ),
    "empty": Kind(
        "look",
        "Boxes without area",
        "The left edge equals the right one, or the top the bottom: usually a click instead of a drag.",
        "The box is skipped. If there is an object, it counts as background.",
        "Check whether an object lacks a box; --fix removes the empty box.",
        fixable=True,
    ),
    "contradiction": Kind(
        "look",
        "Two classes for one object",
        "Two boxes of different classes cover each other.",
        "Both claim the same cell, and the later box replaces the earlier one.",
        "Keep the correct one.",
    ),
    "duplicate-box": Kind(
        "look",
        "Boxes drawn twice",
        "Two boxes of one class cover each other.",
        "In evaluation, the second one cannot be found and counts as missed.",
        "Remove one; --fix does this.",
        fixable=True,
    ),
    "identical": Kind(
        "look",
        "Byte-identical images",
        "The same file occurs under several names in one split, with the same boxes.",
        "It counts several times in training and evaluation.",
        "Keep one; --fix does this.",
        fixable=True,
    ),
    "copy": Kind(
        "look",
        "The same image saved again",
        "Different files show the same image, resized or encoded again.",
        "It counts several times in training and evaluation.",
        "Keep the better one.",
    ),
    "similar-split": Kind(
        "look",
        "Nearly the same image in two splits",
        "Consecutive frames of one camera, or one scene photographed twice, are in different splits.",
        "The model is evaluated on scenes it was trained on, so the measured accuracy is too high.",
        "Split by scene, not by image. Without a val split, lookonce train does so; --group defines scenes.",
    ),
    "similar": Kind(
        "look",
        "Nearly the same image twice",
        "Consecutive frames of one camera, or one scene photographed twice.",
        "They add little to training, and such scenes weigh more than others.",
        "Keep as many as you like, but in one split.",
    ),
    "exif": Kind(
        "look",
        "Images rotated by EXIF",
        "The pixels are stored rotated, and EXIF metadata says how to display them.",
        "lookonce applies the rotation. Programs that ignore it put boxes in the wrong places.",
        "Rotate the pixels; --fix does this.",
        fixable=True,
    ),
    "color": Kind(
        "look",
        "Unusual color modes",
        "The image is in CMYK, or has transparency.",
        "lookonce converts it to RGB without transparency. Other programs may convert it differently.",
        "Save them as RGB; --fix does this.",
        fixable=True,
    ),
    "suffix": Kind(
        "look",
        "Wrong file extensions",
        "The extension does not match the format of the content.",
        "lookonce uses the format of the content. Other programs may refuse the file or misread it.",
        "Rename the file; --fix does this.",
        fixable=True,
    ),
    "listed-twice": Kind(
        "look",
        "Images listed twice",
        "One split names an image more than once.",
        "The image counts once, with the boxes of all its entries.",
        "Remove the other entries; --fix does this. If their boxes differ, check which are correct.",
        fixable=True,
    ),
    "border": Kind(
        "look",
        "Boxes beyond the border",
        "A box extends beyond the image by more than half a pixel.",
        "lookonce clips it. Other programs may not, which shifts the center of the box.",
        "Clip it; --fix does this.",
        fixable=True,
    ),
    "no-size": Kind(
        "look",
        "Size 0x0 declared",
        "The annotation does not state the size of its image.",
        "lookonce uses the actual size. Programs that divide by the declared size fail.",
        "Write the size; --fix does this.",
        fixable=True,
    ),
    "exif-boxes": Kind(
        "look",
        "Boxes drawn on images rotated by EXIF",
        "The declared size is that of the stored pixels: the annotation tool ignored EXIF rotation.",
        "lookonce rotates the boxes with the image. Other programs put them in the wrong places.",
        "Rotate the pixels; --fix does this.",
        fixable=True,
    ),
    "unlabeled": Kind(
        "look",
        "Images without annotations",
        "No annotation file belongs to the image; an empty one would say that it has no objects.",
        "The image is used as background. If it has objects, the network learns to overlook them.",
        "Annotate the image, or move it away.",
    ),
    "tiny": Kind(
        "look",
        "Tiny boxes",
        "The box is less than 3 pixels wide or tall at the network's input size.",
        "Nothing is visible at that size, so such boxes add noise to the loss. Many are slips of the mouse.",
        "Remove slips; if the objects are real, train at a larger size.",
    ),
    "lost": Kind(
        "look",
        "Objects that lose their cells",
        "Two objects claim the same cell and anchor; the later one in the file replaces the earlier.",
        "An object left without any cell is never learned. One that keeps another cell or anchor still is.",
        "Train at a larger size, or with a model that has finer strides.",
    ),
    "no-anchor": Kind(
        "look",
        "Objects that no anchor fits",
        "No anchor's shape has an IoU above 0.3 with this box.",
        "The best anchor is used, but has to be changed a lot, so such boxes stay loose.",
        "Compute anchors from the data (lookonce data anchors), or check the box.",
    ),
    "rare": Kind(
        "look",
        "Rare classes",
        "The training split has fewer than 50 objects of the class.",
        "These are too few to learn the class from.",
        "Add images with this class, or merge it with another; lookonce train --set repeat_rare=0.5 repeats "
        "the images that show it.",
    ),
    "unbalanced": Kind(
        "look",
        "Unbalanced classes",
        "The most frequent class has more than 10 times as many objects.",
        "If two classes look alike, the network prefers the frequent one.",
        "Add images with the rarer class, and read the AP per class, not only the mean.",
    ),
    "below-stride": Kind(
        "info",
        "Objects smaller than a cell",
        "The object is narrower or shorter than one cell of the finest grid, at the network's input size.",
        "Several such objects share a cell, and the features keep little of each.",
        "Train at a larger size, or with yolov3, whose finest stride is 8.",
    ),
    "unlisted": Kind(
        "info",
        "Images that no annotation names",
        "The image is in a folder of the data set, but no annotation names it.",
        "It is not used.",
        "None needed, or add it to the annotations.",
    ),
    "elsewhere": Kind(
        "info",
        "Images outside the data set's folder",
        "Images with the names in the annotations were found in a folder outside the data set's own.",
        "They are used, although they may be other images with the same names.",
        "None needed if the folder is the right one; otherwise name the right one with `--images`.",
    ),
    "polygon": Kind(
        "info",
        "Polygons and masks",
        "An object has a polygon or a mask but no box.",
        "The smallest upright box around it is used.",
        "None needed.",
    ),
    "keypoints": Kind(
        "info",
        "Keypoints",
        "A row of YOLO text has more numbers after the box, as in pose annotations.",
        "The box is used, the keypoints are not.",
        "None needed.",
    ),
    "series": Kind(
        "info",
        "Animations and files of several pages",
        "The file has more frames or pages than the first.",
        "Only the first one is read.",
        "Save the others as separate images if you need them.",
    ),
    "exif-unknown": Kind(
        "info",
        "Boxes on rotated images without a declared size",
        "EXIF rotates the image, and it is unknown whether the annotation tool applied the rotation.",
        "The boxes are read as drawn on the upright image. If the tool ignored EXIF, they are wrong.",
        "Check one of the images with its boxes.",
    ),
    "background": Kind(
        "info",
        "Images without boxes",
        "No object is annotated.",
        "They teach the network what background looks like, provided that they contain no objects.",
        "Check whether they are empty or were forgotten.",
    ),
    "channels": Kind(
        "info",
        "Other number of channels declared",
        "The annotation declares a number of channels other than 3.",
        "No effect: lookonce reads every image in color.",
        "None needed; --fix writes 3.",
        fixable=True,
    ),
    "deep": Kind(
        "info",
        "Images of more than 8 bits",
        "The pixel values of the image have 10 to 16 bits, or are fractions.",
        "The range in use over the whole data set is mapped to black and white; a trained model records it.",
        "None needed; --fix copies them with all their bits.",
    ),
    "gray": Kind(
        "info",
        "Gray images",
        "The file has one channel.",
        "It is read as RGB with three equal channels. Mixing gray and color images is not a defect.",
        "None needed.",
    ),
    "split-absent": Kind(
        "look",
        "Missing splits",
        "The dataset YAML names a split, but there is nothing at its path.",
        "The split is skipped; without val, images of train are held out in its place.",
        "Correct the path, or remove its line.",
    ),
    "selection": Kind(
        "info",
        "Classes renamed or dropped",
        "`classes:` or `ignore:` of the dataset YAML changes them.",
        "Their boxes count for the new class, are dropped, or become ignored areas.",
        "None needed if the counts are as intended.",
    ),
    "setting": Kind(
        "info",
        "Settings without effect",
        "The dataset YAML has an unknown key.",
        "If it is misspelled, the setting is ignored.",
        "Correct or remove it.",
    ),
}
