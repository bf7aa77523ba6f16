"""Every kind of defect: what it is, why it matters, what to do, and who has to do it.

The order is that of a report: what needs a person first, then by how much it can spoil.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["person", "look", "info"]
SEVERITIES: dict[Severity, str] = {
    "person": "needs a person",
    "look": "worth a look",
    "info": "for information",
}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of defect, explained.

    Attributes:
        severity: who has to do something about it.
        title: the plural, as a heading.
        meaning: what it is.
        why: what it does to training or evaluation.
        remedy: what to do.
        fixable: whether a corrected copy is rid of it.
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
        "An annotation names an image that is not there.",
        "Its boxes are lost for training.",
        "Put the image back, or remove its annotation.",
    ),
    "unreadable": Kind(
        "person",
        "Unreadable images",
        "The file is empty, no image, damaged, or too large to unpack.",
        "Its boxes are lost for training, and nobody is told what they looked like.",
        "Get the image again from where it came from.",
    ),
    "truncated": Kind(
        "person",
        "Images cut short",
        "The file ends before the image does: a download or copy that broke off.",
        "Many programs fill the missing rows with grey and say nothing, so a network learns boxes on grey.",
        "Copy or download the image again.",
    ),
    "annotation": Kind(
        "person",
        "Unreadable annotations",
        "A file of annotations is damaged, cut short, or refused because it could do harm.",
        "Its image is left out of training.",
        "Mend or export the file again.",
    ),
    "row": Kind(
        "person",
        "Unreadable rows",
        "A box is not written as the format asks for.",
        "The object stays in the image without a box: the network is taught that it is background.",
        "Write the row again.",
    ),
    "class": Kind(
        "person",
        "Unknown classes",
        "A box has a class that is not among the names: a slip of the pen, or a list of names that is short.",
        "The box is left out, and the object counts as background.",
        "Correct the name, or add it to the list of classes.",
    ),
    "fractions": Kind(
        "person",
        "Fractions in place of pixels",
        "The corners of a box lie between 0 and 1 in a format that has pixels.",
        "The box is left out: read as pixels it would be smaller than one.",
        "Multiply by the width and height of the image, or export as YOLO, whose numbers are fractions.",
    ),
    "orphan": Kind(
        "person",
        "Annotations without an image",
        "A file has boxes, and no image of its name was found.",
        "Its boxes are lost for training.",
        "Put the image back, rename one of the two, or remove the file.",
    ),
    "shared-id": Kind(
        "person",
        "Images that share an id",
        "Different images of one COCO file have the same id.",
        "Nothing tells whose boxes are whose, so all of these images are left out.",
        "Number the images anew.",
    ),
    "shared-labels": Kind(
        "person",
        "Images that share one label file",
        "Two images differ in their suffix alone, and only one label file has their name.",
        "The first image keeps the boxes; the other one is left out.",
        "Remove or rename one of the images.",
    ),
    "filename": Kind(
        "person",
        "XML that names another image",
        "<filename> names one image, and the XML is called like another.",
        "The boxes belong to one of them; lookonce takes the image called like the XML.",
        "Correct <filename>, or rename the XML.",
    ),
    "unread-format": Kind(
        "person",
        "Image formats that are not read",
        "The file is an image of a format that lookonce does not read.",
        "The image and its boxes are left out.",
        "Convert the images to JPEG or PNG.",
    ),
    "leak": Kind(
        "person",
        "The same image in two splits",
        "An image, or a copy of it, is in the split to learn from and in one to judge by.",
        "The network is examined on what it has learnt by heart: the measured accuracy is too good.",
        "Keep it in one split; the split to judge by is the better place.",
    ),
    "copies-differ": Kind(
        "person",
        "Copies with different boxes",
        "The same image is there several times, with different boxes or classes.",
        "At most one of the annotations is right; the others teach the opposite.",
        "Choose one and remove the others.",
    ),
    "wrong-size": Kind(
        "person",
        "Another size declared",
        "The annotation gives the image a size that it has neither upright nor as stored.",
        "The boxes belong to another version of the image, so it is left out.",
        "Find the image that was annotated, or correct the declared size.",
    ),
    "inverted": Kind(
        "person",
        "Inverted boxes",
        "Right lies left of left, or bottom above top.",
        "The box is left out, and the object counts as background.",
        "Exchange the corners; --fix does so.",
        fixable=True,
    ),
    "outside": Kind(
        "person",
        "Boxes outside the image",
        "Nothing of the box lies in the image.",
        "The box is left out; very likely it was meant for another image or another size of this one.",
        "Draw it again.",
    ),
    "not-numbers": Kind(
        "person",
        "Boxes that are no numbers",
        "A side is infinite or not a number.",
        "The box is left out, and the object counts as background.",
        "Draw it again.",
    ),
    "unusable": Kind(
        "person",
        "Images without a usable box",
        "Boxes are there, and none can be used.",
        "The image is left out: as background it would teach the opposite.",
        "Draw the boxes again.",
    ),
    "class-not-learnt": Kind(
        "person",
        "Classes that are judged but never learnt",
        "The split to judge by has objects of a class of which the split to learn from has none.",
        "The network cannot find them: the class has an AP of 0 whatever is done.",
        "Divide the images anew, or add some with this class.",
    ),
    "doubtful-class": Kind(
        "look",
        "Boxes that the model gives another class",
        "The model is sure of an object of another class where this box is.",
        "Wrong labels teach confusion.",
        "Look at them; the most certain ones come first.",
    ),
    "missing-box": Kind(
        "look",
        "Detections without a box",
        "The model is sure of an object where no box is.",
        "If the object is there, the network is taught that it is background, and punished for finding it.",
        "Look at them, the most certain ones first, and add the boxes that are missing.",
    ),
    "unfound-box": Kind(
        "look",
        "Boxes that no detection comes near",
        "The model sees nothing at all where this box is.",
        "The box may be misplaced or superfluous; or the object is hard, which is as good to know.",
        "Look at them.",
    ),
    "concealed-damage": Kind(
        "look",
        "Images that end in one flat colour",
        "The last rows of a JPEG have all one colour, neither black nor white.",
        "A file damaged in the middle is decoded like this without an error.",
        "Look at the bottom of the image; if it is damaged, get it again.",
    ),
    "empty": Kind(
        "look",
        "Boxes without area",
        "Left equals right, or top equals bottom: most often a click that was meant to be a drag.",
        "The box is left out. If an object is there, it counts as background.",
        "Look whether an object is without a box; --fix removes the empty one.",
        fixable=True,
    ),
    "contradiction": Kind(
        "look",
        "Two classes for one object",
        "Two boxes of different classes lie on each other.",
        "One cell is asked for two classes at once; the later box takes the other's place.",
        "Keep the right one.",
    ),
    "duplicate-box": Kind(
        "look",
        "Boxes drawn twice",
        "Two boxes of one class lie on each other.",
        "In evaluation the second one can never be found and counts as missed.",
        "Remove one; --fix does so.",
        fixable=True,
    ),
    "identical": Kind(
        "look",
        "Byte-identical images",
        "The same file is there under several names, in one split, with the same boxes.",
        "It counts several times in training and evaluation.",
        "Keep one; --fix does so.",
        fixable=True,
    ),
    "copy": Kind(
        "look",
        "The same image saved anew",
        "Different files that show the same: resized, or encoded once more.",
        "It counts several times in training and evaluation.",
        "Keep the better one.",
    ),
    "similar-split": Kind(
        "look",
        "Nearly the same image in two splits",
        "Neighbouring frames of one camera, or one scene taken twice, in different splits.",
        "What is judged has nearly been learnt by heart: the measured accuracy is better than the true one.",
        "Divide by scene or recording, not by image.",
    ),
    "similar": Kind(
        "look",
        "Nearly the same image twice",
        "Neighbouring frames of one camera, or one scene taken twice.",
        "They add little to what is learnt, and weigh more than other images.",
        "Keep as many as you like; never divide them between splits.",
    ),
    "exif": Kind(
        "look",
        "Images turned by EXIF",
        "The pixels lie on their side; a note in the file says how to turn them.",
        "lookonce turns them. Programs that do not see boxes in the wrong places.",
        "Turn the pixels; --fix does so.",
        fixable=True,
    ),
    "colour": Kind(
        "look",
        "Odd colour modes",
        "CMYK, 16 bits a channel, or transparency.",
        "lookonce reads all of them as 8-bit RGB, dropping what does not fit. Other programs differ.",
        "Save them as 8-bit RGB; --fix does so.",
        fixable=True,
    ),
    "suffix": Kind(
        "look",
        "Wrong extensions",
        "The file's name promises another format than the file holds.",
        "lookonce looks at the content. Other programs may refuse the file or read it wrongly.",
        "Rename the file; --fix does so.",
        fixable=True,
    ),
    "listed-twice": Kind(
        "look",
        "Images listed twice",
        "One split names an image more than once.",
        "Only the first counts.",
        "Remove the others; --fix does so.",
        fixable=True,
    ),
    "border": Kind(
        "look",
        "Boxes over the border",
        "A box reaches out of the image by more than half a pixel.",
        "lookonce cuts it. Other programs may not, and shift the centre of the box.",
        "Cut it; --fix does so.",
        fixable=True,
    ),
    "no-size": Kind(
        "look",
        "Size 0x0 declared",
        "The annotation does not know the size of its image.",
        "lookonce takes the image's own. Programs that divide by the declared size fail.",
        "Write the size; --fix does so.",
        fixable=True,
    ),
    "exif-boxes": Kind(
        "look",
        "Boxes drawn on images that EXIF turns",
        "The declared size is that of the stored pixels: the annotation tool did not apply EXIF rotation.",
        "lookonce turns the boxes with the image. Other programs put them in the wrong places.",
        "Turn the pixels; --fix does so.",
        fixable=True,
    ),
    "unlabelled": Kind(
        "look",
        "Images without annotations",
        "No annotation file belongs to the image; an empty one would say that it has no objects.",
        "The image is taken as background. If it has objects, the network learns to overlook them.",
        "Annotate the image, or move it away.",
    ),
    "tiny": Kind(
        "look",
        "Tiny boxes",
        "Less than 3 pixels wide or high once the image has the size of the network's input.",
        "Nothing can be seen there: it costs loss and teaches noise. Often a slip of the mouse.",
        "Remove slips; train at a larger size if the objects are real.",
    ),
    "lost": Kind(
        "look",
        "Objects that lose their cells",
        "Two objects claim one cell and anchor; the later one in the file takes it from the earlier.",
        "An object without any cell is never learnt. One that keeps another cell or anchor still is.",
        "Train at a larger size, or with a model that has finer strides.",
    ),
    "no-anchor": Kind(
        "look",
        "Objects that no anchor fits",
        "Every anchor's shape has an IoU below 0.3 with this box.",
        "The best anchor is taken all the same and has to be bent far: such boxes stay loose.",
        "Compute anchors from the data (lookonce data anchors), or look whether the box is right.",
    ),
    "rare": Kind(
        "look",
        "Rare classes",
        "Fewer than 50 objects to learn from.",
        "Too few to learn what the class has in common.",
        "Add images with this class, or join it with another.",
    ),
    "unbalanced": Kind(
        "look",
        "Unbalanced classes",
        "The commonest class has more than 10 times the objects of this one.",
        "Where two classes look alike, the network sides with the common one.",
        "Add images with the rarer class; read the AP of each class, not the mean alone.",
    ),
    "below-stride": Kind(
        "info",
        "Objects smaller than a cell",
        "Narrower or lower than one cell of the finest grid, once at the size of the network's input.",
        "Several such objects share a cell, and little of each is left in the features.",
        "Train at a larger size, or with yolov3, whose finest stride is 8.",
    ),
    "unlisted": Kind(
        "info",
        "Images that no annotation names",
        "The image lies in the set, and no annotation names it.",
        "It is not used.",
        "Nothing, or add it to the annotations.",
    ),
    "polygon": Kind(
        "info",
        "Polygons",
        "An object has a polygon and no box.",
        "The smallest upright box around the polygon is used.",
        "Nothing.",
    ),
    "exif-unknown": Kind(
        "info",
        "Boxes on turned images, without a declared size",
        "EXIF turns the image, and nothing tells whether the annotation tool applied that.",
        "The boxes are taken as drawn on the upright image. If the tool ignored EXIF, they are wrong.",
        "Look at one of the images with its boxes.",
    ),
    "background": Kind(
        "info",
        "Images without boxes",
        "No object is annotated.",
        "They teach what background looks like, if there is indeed nothing in them.",
        "Look whether they are empty or forgotten.",
    ),
    "channels": Kind(
        "info",
        "Other channels declared",
        "The annotation declares another number of channels than 3.",
        "None for lookonce, which reads every image in colour.",
        "Nothing; --fix writes 3.",
        fixable=True,
    ),
    "grey": Kind(
        "info",
        "Grey images",
        "The file has one channel.",
        "Read as RGB with three equal channels. A mixture of grey and colour is no defect.",
        "Nothing.",
    ),
    "setting": Kind(
        "info",
        "Settings without effect",
        "A key of the dataset YAML is unknown.",
        "If it was misspelt, what it says is not done.",
        "Correct or remove it.",
    ),
}
