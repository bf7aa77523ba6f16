"""Write a folder in which Darknet's `darknet detector train` and `map` run.

obj.data, obj.names     settings, class names
train.txt, valid.txt    lists of images
obj/                    images, each with its label file beside it
backup/                 folder in which Darknet stores weights
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from lookonce._files import replacing, write_text
from lookonce.annotations.files import ALL
from lookonce.annotations.layout import distinct, stems_of, write_names
from lookonce.annotations.yolo import label_lines
from lookonce.images import read_image, read_image_header, write_image
from lookonce.samples import SampleSet

FOLDER = "obj"
SUFFIXES = {"JPEG": ".jpg", "PNG": ".png"}  # suffixes of images whose labels every Darknet finds
# To derive the path of the labels, the original Darknet replaces the first of these words anywhere in a path,
# AlexeyAB's replaces some folders with these names, and hank-ai's only the suffix. If the path has none of
# these words, all three look beside the image.
MISREAD = re.compile(r"images|raw|\.(jpe?g|png)", re.IGNORECASE)


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write the folder and return `obj.data`; the first split stands in for a missing train or val split."""
    names = next(iter(sets.values())).names
    named = distinct(sets, lambda path: MISREAD.sub("_", path.stem))
    (out / FOLDER).mkdir(parents=True)
    (out / "backup").mkdir()
    images = {}
    for stem, sample in named.items():
        header = read_image_header(sample.path)
        if header.orientation == 1 and (suffix := SUFFIXES.get(header.format)):
            image = images[stem] = out / FOLDER / f"{stem}{suffix}"
            shutil.copyfile(sample.path, image)
        else:  # Darknet may not read this format, or may ignore the EXIF rotation
            image = images[stem] = out / FOLDER / f"{stem}.png"
            write_image(image, read_image(sample.path))
        lines = "".join(f"{line}\n" for line in label_lines(sample))
        with replacing(image.with_suffix(".txt"), durable=False) as temporary:
            temporary.write_text(lines, encoding="utf-8")
    lists = {}
    for split, samples in sets.items():
        key = {"val": "valid", ALL: "train"}.get(split, split)
        lists[key] = f"{key}.txt"
        listed = (f"{FOLDER}/{images[stem].name}\n" for stem in stems_of(samples, named))
        write_text(out / lists[key], "".join(listed))
    first = next(iter(lists.values()))
    settings = {"classes": len(names), "train": first, "valid": first, "names": "obj.names"}
    write_names(out / "obj.names", names)
    text = "".join(f"{key} = {value}\n" for key, value in {**settings, **lists, "backup": "backup"}.items())
    write_text(out / "obj.data", text)
    return out / "obj.data"
