# ruff: noqa: E501  # tables of what files hold
"""Test exports of other tools: the same two boxes on one image, one on another, none on a third."""

import base64
import json
import re
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lookonce.annotations import load_samples, load_splits, open_annotations
from lookonce.errors import AnnotationError
from lookonce.samples import SampleSet

SIZES = {"a": (60, 80), "b": (80, 60), "c": (60, 80)}
BOXES = {
    "a": [("cat", 10, 10, 30, 40), ("dog", 40, 20, 60, 50)],
    "b": [("dog", 6, 10, 24, 50)],
    "c": list[tuple[str, int, int, int, int]](),
}
NAMES = ("cat", "dog")
Files = dict[str, str]


def put(folder: Path, files: Files, images: list[str]) -> Path:
    """Write texts and images; the stem of a name selects the image."""
    for name in images:
        height, width = SIZES[Path(name).stem.lower()[-1]]
        suffix = Path(name).suffix.lower()
        plain = folder / name if suffix == Path(name).suffix else (folder / name).with_suffix(suffix)
        plain.parent.mkdir(parents=True, exist_ok=True)
        frames = [Image.new("RGB", (width, height), (gray, 90, 90)) for gray in (90, 200)]
        if suffix == ".gif":
            frames[0].save(plain, save_all=True, append_images=frames[1:])
        else:
            frames[0].save(plain)
        plain.rename(folder / name)
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def boxes(found: SampleSet) -> dict[str, list[tuple[object, ...]]]:
    """Return the boxes of each image, by class name."""
    return {
        sample.path.stem.lower()[-1]: sorted(
            (found.names[label], *(round(side, 1) for side in box))
            for box, label in zip(sample.boxes.tolist(), sample.labels.tolist(), strict=True)
        )
        for sample in found.samples
    }


def images(pattern: str, stems: str = "abc") -> list[str]:
    return [pattern.format(stem) for stem in stems]


def yolo(stem: str) -> str:
    height, width = SIZES[stem]
    return "".join(
        f"{NAMES.index(name)} {(x + u) / 2 / width:.6f} {(y + v) / 2 / height:.6f} {(u - x) / width:.6f} "
        f"{(v - y) / height:.6f}\n"
        for name, x, y, u, v in BOXES[stem]
    )


def xml(stem: str, filename: str = "") -> str:
    height, width = SIZES[stem]
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{u}</xmax><ymax>{v}</ymax>"
        "</bndbox></object>"
        for name, x, y, u, v in BOXES[stem]
    )
    size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename or stem + '.jpg'}</filename>{size}{objects}</annotation>"


def coco(pattern: str = "{}.jpg", stems: str = "abc", **changes: Callable[[Any], Any]) -> str:
    """Make a COCO file; `changes` replace values by key."""
    entries: dict[str, list[dict[str, Any]]] = {
        "images": [
            {
                "id": "abc".index(stem),
                "file_name": pattern.format(stem),
                "height": SIZES[stem][0],
                "width": SIZES[stem][1],
            }
            for stem in stems
        ],
        "annotations": [
            {
                "id": i,
                "image_id": "abc".index(stem),
                "category_id": NAMES.index(label) + 1,
                "bbox": [x, y, u - x, v - y],
            }
            for stem in stems
            for i, (label, x, y, u, v) in enumerate(BOXES[stem])
        ],
        "categories": [
            {"id": i, "name": label, "supercategory": "animal"} for i, label in enumerate(NAMES, 1)
        ],
    }
    for each in (entry for part in entries.values() for entry in part):
        for key, change in changes.items():
            if key in each:
                each[key] = change(each[key])
    return json.dumps({"info": {}, "licenses": [], **entries})


def mask(height: int, width: int, x: int, y: int, across: int, down: int) -> str:
    """Make a COCO mask, with runs down the columns."""
    runs = [
        x * height + y,
        *[down, height - down] * (across - 1),
        down,
        (width - x - across + 1) * height - y - down,
    ]
    assert sum(runs) == height * width
    return f'"segmentation": {{"size": [{height}, {width}], "counts": {runs}}}, "iscrowd": 0'


def labelme(stem: str) -> str:
    shapes = [
        {"label": name, "points": [[u, v], [x, y]], "shape_type": "rectangle"}
        for name, x, y, u, v in BOXES[stem]
    ]
    height, width = SIZES[stem]
    tree = {
        "version": "5",
        "shapes": shapes,
        "imagePath": f"{stem}.jpg",
        "imageHeight": height,
        "imageWidth": width,
    }
    return json.dumps(tree)


def label_studio(minimal: bool = False) -> str:
    tasks = []
    for stem in "abc":
        height, width = SIZES[stem]
        values = [
            {"x": 100 * x / width, "y": 100 * y / height, "width": 100 * (u - x) / width,
             "height": 100 * (v - y) / height, "rotation": 0, "rectanglelabels": [name]}
            for name, x, y, u, v in BOXES[stem]
        ]  # fmt: skip
        about = {"original_width": width, "original_height": height}
        url = f"/data/local-files/?d=photos%2F{stem}.jpg"
        if minimal:
            values = [value | about for value in values]
            tasks.append({"image": url, "id": 1, "label": values, "annotator": 1, "annotation_id": 1})
            continue
        results = [{"type": "rectanglelabels", "value": value, **about} for value in values]
        cancelled = {"was_cancelled": True, "result": results * 2}
        tasks.append({"id": 1, "data": {"image": url}, "annotations": [{"result": results}, cancelled]})
    return json.dumps(tasks)


def apart(text: str) -> str:
    """Split each result of Label Studio's tasks into two with the same id: the shape, and its class."""
    tasks = json.loads(text)
    for task in tasks:
        for annotation in task["annotations"]:
            pairs = []
            for i, result in enumerate(annotation["result"]):
                shape = {k: v for k, v in result["value"].items() if k != "rectanglelabels"}
                pairs.append(result | {"id": i, "type": "rectangle", "value": shape})
                label = shape | {"labels": result["value"]["rectanglelabels"]}
                pairs.append(result | {"id": i, "type": "labels", "value": label})
            annotation["result"] = pairs
    return json.dumps(tasks)


def as_mask(match: re.Match[str]) -> str:
    """Turn a box of CVAT's XML into a mask that fills it."""
    left, top, right, bottom = map(int, match.groups()[1:])
    size = f'left="{left}" top="{top}" width="{right - left}" height="{bottom - top}"'
    return f'<mask {match[1]} rle="0, {(right - left) * (bottom - top)}" {size}/>'


def create_ml() -> str:
    entries = []
    for stem, found in BOXES.items():
        given = [
            {
                "label": name,
                "coordinates": {"x": (x + u) / 2, "y": (y + v) / 2, "width": u - x, "height": v - y},
            }
            for name, x, y, u, v in found
        ]
        entries.append({"image": f"{stem}.jpg", "annotations": given})
    return json.dumps(entries)


def cvat(subset: str = "") -> str:
    shapes = {
        stem: "".join(
            f'<box label="{name}" xtl="{x}" ytl="{y}" xbr="{u}" ybr="{v}"/>' for name, x, y, u, v in found
        )
        for stem, found in BOXES.items()
    }
    of_subset = f' subset="{subset}"' if subset else ""
    nodes = "".join(
        f'<image id="1" name="{stem}.jpg"{of_subset} width="{SIZES[stem][1]}" height="{SIZES[stem][0]}">{shape}</image>'
        for stem, shape in shapes.items()
    )
    return f"<annotations><version>1.1</version>{nodes}</annotations>"


def cvat_video() -> str:
    def track(label: str, spots: list[tuple[int, int, int, int, int]]) -> str:
        found = "".join(
            f'<box frame="{f}" outside="0" xtl="{x}" ytl="{y}" xbr="{u}" ybr="{v}"/>'
            for f, x, y, u, v in spots
        )
        last = '<box frame="12" outside="1" xtl="1" ytl="1" xbr="9" ybr="9"/>'
        return f'<track id="0" label="{label}">{found}{last}</track>'

    first, second = BOXES["a"]
    return f"<annotations>{track('cat', [(10, *first[1:])])}{track('dog', [(10, *second[1:]), (11, *BOXES['b'][0][1:])])}</annotations>"


def open_images() -> str:
    rows = ["ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf"]
    for stem, found in BOXES.items():
        height, width = SIZES[stem]
        rows += [
            f"{stem},x,/m/{name},1,{x / width},{u / width},{y / height},{v / height},0"
            for name, x, y, u, v in found
        ]
    return "\n".join(rows)


def tensorflow() -> str:
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for stem, found in BOXES.items():
        height, width = SIZES[stem]
        rows += [f"{stem}.jpg,{width},{height},{name},{x},{y},{u},{v}" for name, x, y, u, v in found]
    return "\n".join(rows)


def retinanet(stems: str = "abc") -> str:
    found = [(stem, *box) for stem in stems for box in BOXES[stem]]
    rows = [f"{stem}.jpg,{x},{y},{u},{v},{name}" for stem, name, x, y, u, v in found]
    return "\n".join([*rows, *(f"{stem}.jpg,,,,," for stem in stems if not BOXES.get(stem))])


def quoted(table: str) -> str:
    return "\n".join(",".join(f'"{word}"' for word in row.split(",")) for row in table.split("\n"))


def lines(form: str, stems: str = "abc") -> str:
    out = []
    for i, stem in enumerate(stems):
        height, width = SIZES[stem]
        numbers = [(NAMES.index(name), x, y, u, v) for name, x, y, u, v in BOXES[stem]]
        if form == "ours":
            out.append(" ".join([f"{stem}.jpg", *(f"{x},{y},{u},{v},{n}" for n, x, y, u, v in numbers)]))
        elif form == "indexed":
            out.append(
                " ".join(
                    [
                        f"{i} {stem}.jpg {width} {height}",
                        *(f"{n} {x} {y} {u} {v}" for n, x, y, u, v in numbers),
                    ]
                )
            )
        else:
            out += [f"{stem}.jpg,{x},{y},{u},{v},{name}" for name, x, y, u, v in BOXES[stem]] or [
                f"{stem}.jpg,,,,,"
            ]
    return "\n".join(out)


YOLO = {f"labels/{stem}.txt": yolo(stem) for stem in "abc"}
CLASSES = {"classes.txt": "cat\ndog\n"}
ROBOFLOW = {"train": "a", "valid": "b", "test": "c"}
FOREIGN = "C:\\Users\\me\\set\\images\\{}.jpg"

# name: (files, images)
EXPORTS: dict[str, tuple[Files, list[str]]] = {
    "coco, Windows paths": ({"r.json": coco("images\\{}.jpg")}, images("images/{}.jpg")),
    "coco, another machine": ({"r.json": coco(FOREIGN)}, images("photos/{}.jpg")),
    "coco, a path that leaves the folder": ({"r.json": coco("../../x/media/{}.jpg")}, images("images/{}.jpg")),
    "coco, URLs": ({"r.json": coco("https://host/f/{}.jpg?size=1")}, images("images/{}.jpg")),
    "coco, uploaded to Label Studio": ({"r.json": coco("images/0123abcd-{}.jpg")}, images("photos/{}.jpg")),
    "coco, file URL": ({"r.json": coco("file:///x/y%20z/{}.jpg")}, images("y z/{}.jpg")),
    "coco, other letter case": ({"r.json": coco("{}.JPG")}, images("images/{}.jpg")),
    "coco, text ids": ({"r.json": coco(image_id=str, category_id=str)}, images("{}.jpg")),
    "coco, ids from pandas": ({"r.json": coco(id=float, image_id=float, category_id=float)}, images("{}.jpg")),
    "coco, ids with zeros": ({"r.json": coco(image_id=lambda i: f"{i:06d}")}, images("{}.jpg")),
    "coco, FiftyOne": ({"labels.json": coco()}, images("data/{}.jpg")),
    "coco, polygons alone": (
        {"r.json": coco(bbox=lambda _: []).replace('"bbox": []', '"bbox": [], "segmentation": [[10, 10, 30, 10, 20, 40]]', 1)
         .replace('"bbox": []}', '"bbox": [], "segmentation": [[40, 20, 60, 50], [50, 20, 41, 49]]}', 1)
         .replace('"bbox": []}', '"bbox": [], "segmentation": [[6, 10, 24, 10, 24, 50, 6, 50]]}', 1)},
        images("{}.jpg"),
    ),
    "coco, masks alone": (
        {"r.json": coco(bbox=lambda box: {"mask": box}).replace('"bbox": {"mask": [10, 10, 20, 30]}', mask(60, 80, 10, 10, 20, 30))
         .replace('"bbox": {"mask": [40, 20, 20, 30]}', mask(60, 80, 40, 20, 20, 30))
         .replace('"bbox": {"mask": [6, 10, 18, 40]}', mask(80, 60, 6, 10, 18, 40))},
        images("{}.jpg"),
    ),
    "yolo, keypoints": (
        CLASSES | {f"labels/{s}.txt": yolo(s).replace("\n", " 0.1 0.1 2 0.2 0.2 1 0 0 0 0.5 0.5 2\n") for s in "abc"},
        images("images/{}.jpg"),
    ),
    "yolo, keypoints of two numbers": (
        {"data.yaml": "names: [cat, dog]\nkpt_shape: [3, 2]\nflip_idx: [0, 2, 1]\ntrain: images\n"}
        | {f"labels/{s}.txt": yolo(s).replace("\n", " 0.1 0.1 0.9 0.2 0 0\n") for s in "abc"},
        images("images/{}.jpg"),
    ),
    "yolo, keypoints in a folder": (
        {"data.yaml": "names: [cat, dog]\nkpt_shape: [3, 2]\n"}
        | {f"labels/{s}.txt": yolo(s).replace("\n", " 0.1 0.1 0.9 0.2 0 0\n") for s in "abc"},
        images("images/{}.jpg"),
    ),
    "coco, a root category": (
        {"r.json": coco(supercategory=lambda _: "animals").replace('"categories": [', '"categories": [{"id": 0, "name": "animals", "supercategory": "none"}, ')},
        images("{}.jpg"),
    ),
    "coco beside another JSON": ({"r.json": coco(), "kaggle.json": '{"info": 1, "licenses": []}'}, images("{}.jpg")),
    "coco, annotations last and large": ({"r.json": '{"pad": "' + "x" * 200_000 + '", ' + coco()[1:]}, images("{}.jpg")),
    "voc, small letters": ({f"annotations/{s}.xml": xml(s) for s in "abc"}, images("images/{}.jpg")),
    "voc, xmls": ({f"annotations/xmls/{s}.xml": xml(s) for s in "abc"}, images("images/{}.jpg")),
    "voc, beside": ({f"{s}.xml": xml(s) for s in "abc"}, images("{}.jpg")),
    "voc, found by stem": ({f"x/{s}.xml": xml(s, "other.png") for s in "abc"}, images("y/z/{}.jpg")),
    "voc, found by filename": ({f"x/00{s}1.xml": xml(s, f"D:\\p\\{s}.jpg") for s in "abc"}, images("y/{}.jpg")),
    "voc, no XML for an empty image": ({f"Annotations/{s}.xml": xml(s) for s in "ab"}, images("JPEGImages/{}.jpg")),
    "voc, folders": ({f"Annotations/cam_{s}/{s}.xml": xml(s) for s in "abc"}, images("JPEGImages/cam_{0}/{0}.jpg")),
    "voc, polygons": (
        {f"{s}.xml": xml(s).replace("bndbox", "polygon").replace("xmin", "x1").replace("ymin", "y1").replace("xmax", "x2")
         .replace("ymax", "y2") for s in "abc"},
        images("{}.jpg"),
    ),
    "voc, letters of two parts": (
        {f"x/{unicodedata.normalize('NFD', 'é')}{s}.xml": xml(s, "none") for s in "abc"}, images("é{}.jpg"),
    ),
    "voc, declared UTF-16 and stored as UTF-8, with a blank line": (
        {f"{s}.xml": '\n<?xml version="1.0" encoding="utf-16"?>\n' + xml(s) for s in "abc"}, images("{}.jpg"),
    ),
    "voc, folders of another depth": (
        {f"xml/cam_{s}/1{s}.xml": xml(s, f"1{s}.jpg") for s in "abc"}
        | {f"xml/cam_x/1{s}.xml": xml(s, f"1{s}.jpg") for s in "abc"},
        [*images("images/cam_{0}/rgb/1{0}.jpg"), *images("images/cam_x/rgb/1{0}.jpg")],
    ),
    "yolo, folders": (CLASSES | {f"labels/x/{s}.txt": yolo(s) for s in "abc"}, images("images/x/{}.jpg")),
    "yolo, some in folders": (
        CLASSES | {"labels/x/a.txt": yolo("a"), "labels/b.txt": yolo("b")}, [*images("images/x/{}.jpg", "ac"), "images/b.jpg"],
    ),
    "yolo, upper case": (CLASSES | {f"Labels/{s.upper()}.TXT": yolo(s) for s in "abc"}, images("Images/{}.JPG")),
    "yolo, upper case everywhere": ({"CLASSES.TXT": "cat\ndog\n"} | {f"Labels/{s}.txt": yolo(s) for s in "abc"}, images("Images/{}.jpg")),
    "yolo, a YAML from a system without letter case": (
        {"data.yaml": "path: .\ntrain: images/train\nnames: [cat, dog]\n"} | {f"Labels/Train/{s}.txt": yolo(s) for s in "abc"},
        images("Images/Train/{}.jpg"),
    ),
    "yolo, labelImg's list of classes": ({"predefined_classes.txt": "cat\ndog\n"} | {f"{s}.txt": yolo(s) for s in "abc"}, images("{}.jpg")),
    "yolo, jfif and mpo": (CLASSES | YOLO, ["images/a.jfif", "images/b.mpo", "images/c.jpe"]),
    "yolo, names beside the labels": (
        {f"labels/x/{n}": t for n, t in (*CLASSES.items(), ("a.txt", yolo("a")), ("b.txt", yolo("b")))} | {f"labels/y/{n}": t for n, t in CLASSES.items()},
        [*images("images/x/{}.jpg", "ab"), "images/y/c.jpg"],
    ),
    "yolo, labels elsewhere": (CLASSES | {f"txt/{s}.txt": yolo(s) for s in "abc"}, images("photos/{}.jpg")),
    "yolo, Label Studio": (CLASSES | YOLO | {"notes.json": '{"categories": [], "info": {}}'}, images("images/{}.jpg")),
    "yolo, supervision": ({"data.yaml": "names: [cat, dog]\nnc: 2\n"} | YOLO, images("images/{}.jpg")),
    "yolo, letters of two parts": (
        CLASSES | {f"labels/{unicodedata.normalize('NFD', 'é')}{s}.txt": yolo(s) for s in "abc"}, images("images/é{}.jpg"),
    ),
    "labelme": ({f"{s}.json": labelme(s) for s in "abc"}, images("{}.jpg")),
    "labelme, a path that goes up": (
        {f"x/{s}.json": labelme(s).replace(f"{s}.jpg", f"..\\\\y\\\\{s}.jpg") for s in "abc"}, images("y/{}.jpg"),
    ),
    "labelme, images renamed": ({f"{s}.json": labelme(s).replace(f"{s}.jpg", f"old{s}.png") for s in "abc"}, images("{}.jpg")),
    "labelme, images apart": ({f"x/{s}.json": labelme(s) for s in "abc"}, images("y/{}.jpg")),
    "label studio": ({"export.json": label_studio()}, images("photos/{}.jpg")),
    "label studio, minimal": ({"export.json": label_studio(minimal=True)}, images("photos/{}.jpg")),
    "label studio, another key of the image": (
        {"export.json": label_studio(minimal=True).replace('"image"', '"created_at": "2024-01-01T00:00:00.000Z", "photo_url"')},
        images("photos/{}.jpg"),
    ),
    "label studio, names as it stores them": (
        {"export.json": label_studio().replace("/data/local-files/?d=photos%2F", "/data/upload/1/0123abcd-my_1_")},
        images("photos/my (1) {}.jpg"),
    ),
    "label studio, shape and class apart": (
        {"export.json": apart(label_studio())}, images("photos/{}.jpg"),
    ),
    "createml, an older key": ({"a.json": create_ml().replace('"annotations"', '"annotation"')}, images("{}.jpg")),
    "createml": ({"_annotations.createml.json": create_ml()}, images("{}.jpg")),
    "cvat": ({"annotations.xml": cvat()}, images("images/{}.jpg")),
    "cvat, masks": (
        {"annotations.xml": re.sub(r'<box (\S+) xtl="(\d+)" ytl="(\d+)" xbr="(\d+)" ybr="(\d+)"/>', as_mask, cvat())}, images("images/{}.jpg"),
    ),
    "openimages, FiftyOne": (
        {"train/labels/detections.csv": open_images(), "train/metadata/classes.csv": "/m/cat,cat\n/m/dog,dog\n"},
        images("train/data/{}.jpg", "ab"),
    ),
    "csv of Kaggle": ({"train.csv": tensorflow().replace("filename", "image_id").replace(".jpg", "")}, images("train/{}.jpg", "ab")),
    "openimages": (
        {"train-annotations-bbox.csv": open_images(), "class-descriptions-boxable.csv": "/m/cat,cat\n/m/dog,dog\n"},
        images("train/{}.jpg", "ab"),
    ),
    "tensorflow": ({"_annotations.csv": tensorflow()}, images("{}.jpg", "ab")),
    "csv with tabs": ({"labels.csv": tensorflow().replace(",", "\t")}, images("{}.jpg", "ab")),
    "csv with semicolons": ({"labels.csv": tensorflow().replace(",", ";")}, images("{}.jpg", "ab")),
    "csv of old Macs": ({"labels.csv": tensorflow().replace("\n", "\r") + "\r"}, images("{}.jpg", "ab")),
    "csv of Excel": (
        {"labels.csv": "\ufeffsep=;\r\n" + tensorflow().replace(",", ";").replace("\n", "\r\n") + "\r\n;;;;;;;\r\n"},
        images("{}.jpg", "ab"),
    ),
    "csv by other names": (
        {"labels.csv": tensorflow().replace("filename", "Image").replace("class", "label").replace("xmin", "x1")
                                   .replace("ymin", "y1").replace("xmax", "x2").replace("ymax", "y2")},
        images("{}.jpg", "ab"),
    ),
    "retinanet csv": ({"train.csv": retinanet()}, images("{}.jpg")),
    "retinanet csv with a header": (
        {"train.csv": "filename,xmin,ymin,xmax,ymax,class\n" + retinanet()}, images("{}.jpg"),
    ),
    "retinanet csv with a header of other names": (
        {"train.csv": "\ufeffImage;X1;Y1;X2;Y2;Label\r\n" + retinanet().replace(",", ";").replace("\n", "\r\n")},
        images("{}.jpg"),
    ),
    "csv with and without header": (
        {"a.csv": "filename,xmin,ymin,xmax,ymax,class\n" + retinanet("a"), "b.csv": retinanet("b")}, images("{}.jpg", "ab"),
    ),
    "csv with quotes": ({"labels.csv": quoted(tensorflow())}, images("{}.jpg", "ab")),
    "csv with quotes and spaces": ({"labels.csv": quoted(tensorflow()).replace(",", ", ")}, images("{}.jpg", "ab")),
    "csv with commas in names": (
        {"train.csv": quoted(retinanet()).replace('"a.jpg"', '"1, a.jpg"')}, ["1, a.jpg", *images("{}.jpg", "bc")],
    ),
    "keras": ({"_annotations.txt": lines("ours"), "_classes.txt": "cat\ndog"}, images("{}.jpg")),
    "indexed lines": ({"train.txt": lines("indexed"), **CLASSES}, images("{}.jpg")),
    "retinanet": ({"train.txt": lines("table")}, images("{}.jpg")),
}  # fmt: skip

# name: (files, images); a is for training, b for validation, c for testing
DIVIDED: dict[str, tuple[Files, list[str]]] = {
    "roboflow voc": ({f"{f}/{s}.xml": xml(s) for f, s in ROBOFLOW.items()}, [f"{f}/{s}.jpg" for f, s in ROBOFLOW.items()]),
    "roboflow coco": (
        {f"{f}/_annotations.coco.json": coco(stems=s) for f, s in ROBOFLOW.items()}, [f"{f}/{s}.jpg" for f, s in ROBOFLOW.items()],
    ),
    "roboflow darknet": (
        {f"{f}/{s}.txt": yolo(s) for f, s in ROBOFLOW.items()} | {f"{f}/_darknet.labels": "cat\ndog" for f in ROBOFLOW},
        [f"{f}/{s}.jpg" for f, s in ROBOFLOW.items()],
    ),
    "roboflow keras": (
        {f"{f}/_annotations.txt": lines("ours", s) for f, s in ROBOFLOW.items()} | {f"{f}/_classes.txt": "cat\ndog" for f in ROBOFLOW},
        [f"{f}/{s}.jpg" for f, s in ROBOFLOW.items()],
    ),
    "roboflow yolo": (
        {"data.yaml": "train: Set-1/train/images\nval: ../valid/images\ntest: /x/y/test/images\nnc: 2.0\nnames: {'0': cat, '1': dog}\n"}
        | {f"{f}/labels/{s}.txt": yolo(s) for f, s in ROBOFLOW.items()},
        [f"{f}/images/{s}.jpg" for f, s in ROBOFLOW.items()],
    ),
    "yaml one folder below": (
        {"Set-1/data.yaml": "train: Set-1/train/images\nval: Set-1/valid/images\ntest: Set-1/test/images\nnames: [cat, dog]\n"}
        | {f"Set-1/{f}/labels/{s}.txt": yolo(s) for f, s in ROBOFLOW.items()},
        [f"Set-1/{f}/images/{s}.jpg" for f, s in ROBOFLOW.items()],
    ),
    "voc lists": (
        {f"Annotations/{s}.xml": xml(s) for s in "abc"}
        | {f"ImageSets/Main/{name}.txt": s for name, s in (("Train", "a"), ("valid", "b.jpg"), ("test", "JPEGImages/c.jpg"))},
        images("JPEGImages/{}.jpg"),
    ),
    "cvat yolo 1.1": (
        {"obj.data": "classes = 2\nTrain = Train.txt\nValidation = data/Validation.txt\ntest = test.txt\nnames = data/obj.names\n",
         "obj.names": "cat\ndog"}
        | {f"{n}.txt": f"data/obj_{n}_data/cam/{s}.jpg" for n, s in (("Train", "a"), ("Validation", "b"), ("test", "c"))}
        | {f"obj_{n}_data/cam/{s}.txt": yolo(s) for n, s in (("Train", "a"), ("Validation", "b"), ("test", "c"))},
        [f"obj_{n}_data/cam/{s}.jpg" for n, s in (("Train", "a"), ("Validation", "b"), ("test", "c"))],
    ),
    "cvat ultralytics": (
        {"data.yaml": "path: .\nTrain: Train.txt\nValidation: Validation.txt\ntest: test.txt\nnames: {0: cat, 1: dog}"}
        | {f"{n}.txt": f"data/images/{n}/{s}.jpg" for n, s in (("Train", "a"), ("Validation", "b"), ("test", "c"))}
        | {f"labels/{n}/{s}.txt": yolo(s) for n, s in (("Train", "a"), ("Validation", "b"), ("test", "c"))},
        [f"images/{n}/{s}.jpg" for n, s in (("Train", "a"), ("Validation", "b"), ("test", "c"))],
    ),
    "cvat subsets": (
        {f"{s}.xml": cvat(subset).replace("</annotations>", "").split("<image")[0]
         + "<image" + cvat(subset).removesuffix("</annotations>").split("<image")["abc".index(s) + 1] + "</annotations>"
         for s, subset in (("a", "Train"), ("b", "Validation"), ("c", "test"))},
        images("images/{}.jpg"),
    ),
    "voc lists without Main": (
        {f"Annotations/{s}.xml": xml(s) for s in "abc"} | {f"ImageSets/{n}.txt": s for n, s in (("train", "a"), ("val", "b"), ("test", "c"))},
        images("JPEGImages/{}.jpg"),
    ),
    "voc lists of PaddlePaddle": (
        {f"Annotations/{s}.xml": xml(s) for s in "abc"}
        | {f"{n}_list.txt": f"JPEGImages/{s}.jpg Annotations/{s}.xml" for n, s in (("train", "a"), ("val", "b"), ("test", "c"))},
        images("JPEGImages/{}.jpg"),
    ),
    "voc lists of VoTT": (
        {f"Annotations/{s}.xml": xml(s) for s in "abc"}
        | {f"ImageSets/Main/{k}_{n}.txt": f"{s}.jpg 1" for k in NAMES for n, s in (("train", "a"), ("val", "b"), ("test", "c"))},
        images("JPEGImages/{}.jpg"),
    ),
    "voc of two years": (
        {f"VOC200{i}/Annotations/{s}.xml": xml(s) for i, s in enumerate("abc")}
        | {"VOC2000/ImageSets/Main/train.txt": "a", "VOC2001/ImageSets/Main/val.txt": "b", "VOC2002/ImageSets/Main/test.txt": "c",
           "VOC2001/ImageSets/Main/train.txt": ""},
        [f"VOC200{i}/JPEGImages/{s}.jpg" for i, s in enumerate("abc")],
    ),
    "lists of stems": (CLASSES | YOLO | {"train.txt": "a\n", "val.txt": "b\n", "test.txt": "c\n"}, images("images/{}.jpg")),
    "lists at the top": (
        CLASSES | YOLO | {"train.txt": "./images/a.jpg", "val.txt": "/x/set/images/b.jpg", "test.txt": "images/c.jpg"},
        images("images/{}.jpg"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", EXPORTS)
def test_an_export_opens(tmp_path: Path, case: str) -> None:
    folder = put(tmp_path / "x", *EXPORTS[case])
    found = load_samples(folder)
    listed = {
        stem: sorted(here)
        for stem, here in BOXES.items()
        if any(Path(i).stem[-1].lower() == stem for i in EXPORTS[case][1])
    }
    assert boxes(found) == listed
    assert found.names == NAMES
    assert {problem.outcome for problem in found.problems} <= {"noted"}, found.problems


@pytest.mark.parametrize(("number", "case"), list(enumerate(EXPORTS)))
def test_an_export_opens_with_any_image_suffix(tmp_path: Path, number: int, case: str) -> None:
    files, names = EXPORTS[case]
    suffixes = (".gif", ".jp2", ".avif", ".ppm", ".webp", ".tiff", ".jfif")
    suffix = suffixes[number % len(suffixes)]
    every = re.compile(r"\.jpe?g\b", re.IGNORECASE)
    changed = {every.sub(suffix, name): every.sub(suffix, text) for name, text in files.items()}
    found = load_samples(put(tmp_path / "x", changed, [every.sub(suffix, name) for name in names]))
    present = {Path(name).stem[-1].lower() for name in names}
    assert boxes(found) == {stem: sorted(here) for stem, here in BOXES.items() if stem in present}
    assert {problem.outcome for problem in found.problems} <= {"noted"}, found.problems


@pytest.mark.parametrize("case", DIVIDED)
def test_an_export_in_splits_opens(tmp_path: Path, case: str) -> None:
    sets = load_splits(put(tmp_path / "x", *DIVIDED[case]), names=None if "voc" not in case else NAMES)
    assert {split: boxes(found) for split, found in sets.items()} == {
        split: {stem: sorted(BOXES[stem])} for split, stem in (("train", "a"), ("val", "b"), ("test", "c"))
    }
    assert {p.outcome for found in sets.values() for p in found.problems} <= {"noted"}


@pytest.mark.parametrize("name", ["labels.csv", "train.txt"])
def test_utf_16_rows_are_read(tmp_path: Path, name: str) -> None:
    text = "filename,xmin,ymin,xmax,ymax,class\n" * name.endswith(".csv") + retinanet()
    folder = put(tmp_path / "x", {}, images("{}.jpg"))
    (folder / name).write_text(text.replace("cat", "\u732b"), encoding="utf-16")
    found = load_samples(folder)
    assert set(found.names) == {"\u732b", "dog"}
    assert [len(sample.boxes) for sample in found.samples] == [len(BOXES[stem]) for stem in "abc"]


@pytest.mark.parametrize("end", ["\r", "\r\n", "\n"])
def test_any_line_ending_is_read(tmp_path: Path, end: str) -> None:
    files = {
        "labels/a.txt": f"0 0.5 0.5 0.2 0.3{end}1 0.5 0.5 0.1 0.1{end}",
        "classes.txt": f"cat{end}dog{end}",
    }
    found = load_samples(put(tmp_path / "x", files, ["images/a.jpg"]))
    assert found.names == ("cat", "dog")
    assert found.samples[0].labels.tolist() == [0, 1]


def test_a_unicode_line_separator_in_a_name_does_not_end_the_row(tmp_path: Path) -> None:
    text = "filename,class,xmin,ymin,xmax,ymax\na.jpg,big\u2028cat,10,20,30,40\n"
    found = load_samples(put(tmp_path / "x", {"labels.csv": text}, ["a.jpg"]))
    assert found.names == ("big\u2028cat",)
    assert [sample.boxes.tolist() for sample in found.samples] == [[[10, 20, 30, 40]]]


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        # x and y of both faces' corners, as CVAT writes them
        ('<cuboid label="cat" xtl1="10" ytl1="12" xbl1="10" ybl1="30" xtr1="20" ytr1="14" xbr1="20" ybr1="28" '
         'xtl2="22" ytl2="9" xbl2="22" ybl2="26" xtr2="15" ytr2="8" xbr2="15" ybr2="27"/>', [10, 8, 22, 30]),
        ('<skeleton label="cat"><points label="1" outside="0" points="5,6"/><points label="2" outside="0" '
         'points="25,16"/><points label="3" outside="1" points="40,40"/></skeleton>', [5, 6, 25, 16]),
        ('<ellipse label="cat" cx="30" cy="20" rx="12" ry="5"/>', [18, 15, 42, 25]),
        ('<ellipse label="cat" cx="30" cy="20" rx="12" ry="5" rotation="90"/>', [25, 8, 35, 32]),
    ],
)  # fmt: skip
def test_every_cvat_shape_becomes_its_bounding_box(tmp_path: Path, shape: str, box: list[float]) -> None:
    xml = f'<annotations><image id="0" name="a.jpg" width="80" height="60">{shape}</image></annotations>'
    put(tmp_path, {"annotations.xml": xml}, ["a.jpg"])
    found = load_samples(tmp_path)
    (sample,) = found.samples
    assert sample.boxes.tolist() == [pytest.approx(box)]
    assert [p.outcome for p in found.problems] == ["noted"]  # reported once, as for polygons


def test_a_skeleton_that_left_the_frame_is_not_a_problem(tmp_path: Path) -> None:
    """CVAT writes `outside` only on the points of a skeleton."""
    shapes = "".join(
        f'<skeleton frame="{frame}" keyframe="1"><points label="1" outside="{outside}" points="5,6"/>'
        f'<points label="2" outside="{outside}" points="25,16"/></skeleton>'
        for frame, outside in ((10, 0), (11, 1))
    )
    xml = f'<annotations><track id="0" label="cat">{shapes}</track></annotations>'
    put(tmp_path, {"annotations.xml": xml}, ["images/a.png"])
    (tmp_path / "images" / "a.png").rename(tmp_path / "images" / "frame_000010.PNG")
    found = load_samples(tmp_path)
    assert [sample.boxes.tolist() for sample in found.samples] == [[[5, 6, 25, 16]]]
    assert [p.outcome for p in found.problems] == ["noted"]


def test_a_cvat_video_is_read(tmp_path: Path) -> None:
    put(tmp_path, {"annotations.xml": cvat_video()}, ["images/frame_a.PNG", "images/frame_b.PNG"])
    for stem, number in (("a", 10), ("b", 11)):
        (tmp_path / "images" / f"frame_{stem}.PNG").rename(tmp_path / "images" / f"frame_{number:06d}.PNG")
    found = load_samples(tmp_path)
    assert [len(sample.boxes) for sample in found.samples] == [2, 1]


@pytest.mark.parametrize(
    "case", ["coco, another machine", "yolo, folders", "labelme", "cvat", "voc, folders"]
)
def test_a_zip_opens(tmp_path: Path, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    folder = put(tmp_path / "x", *EXPORTS[case])
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, Path("export") / file.relative_to(folder))
    for _ in range(2):  # unpacked, then found unpacked
        assert boxes(load_samples(tmp_path / "set.zip")) == {
            stem: sorted(found) for stem, found in BOXES.items()
        }


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"r.json": coco()}, "r.json"),
        ({"r.json": coco("data/{}.jpg")}, "."),
        ({f"Annotations/{s}.xml": xml(s) for s in "abc"}, "."),
        (CLASSES | YOLO, "."),
        ({f"{s}.json": labelme(s) for s in "abc"}, "."),
        ({"annotations.xml": cvat()}, "annotations.xml"),
        ({"train.txt": lines("ours"), **CLASSES}, "train.txt"),
    ],
)
def test_images_may_be_in_another_folder(tmp_path: Path, files: Files, where: str) -> None:
    put(tmp_path / "x" / "y" / "z", files, [])
    put(tmp_path / "photos", {}, images("deep/{}.jpg"))
    with pytest.raises(AnnotationError):
        load_samples(tmp_path / "x" / "y" / "z" / where)
    found = load_samples(tmp_path / "x" / "y" / "z" / where, images=tmp_path / "photos")
    assert boxes(found) == {stem: sorted(each) for stem, each in BOXES.items()}


HULL = "1 0.1 0.2 0.5 0.2 0.3 0.8\n"


@pytest.mark.parametrize(
    ("files", "names", "kind", "what"),
    [
        (CLASSES | YOLO | {"labels/d.txt": yolo("a")}, images("images/{}.jpg"), "orphan", "labels without a picture"),
        (CLASSES | YOLO, [*images("images/{}.jpg"), "images/a.png"], "shared-labels", "a.jpg has the only label file"),
        (CLASSES | YOLO | {"images/d.heic": "x", "images/e.HEIC": "x"}, images("images/{}.jpg"), "unread-format", "2 like this"),
        (CLASSES | YOLO | {"labels/a.txt": HULL}, images("images/{}.jpg"), "polygon", "the box around it"),
        (CLASSES | {"labels/a.txt": yolo("a")}, images("images/{}.jpg"), "unlabeled", "no label file describes it"),
        (CLASSES | YOLO | {"labels/a.txt": "0 0.1 0.1 0.2 0.2 0.9"}, images("images/{}.jpg"), "row", "the sixth"),
        (CLASSES | YOLO | {"labels/a.txt": "0 .1 .1 .2 .2 .5 .5 .2"}, images("images/{}.jpg"), "row", "for keypoints"),
        (CLASSES | YOLO | {"labels/a.txt": "0 .1 .1 .2 .2 .5 .5 2 0 0 0"}, images("images/{}.jpg"), "keypoints", "6 keypoint numbers"),
        ({"data.yaml": "names: [cat, dog]\nkpt_shape: [3, 2]\ntrain: images\n", "labels/a.txt": "0 .1 .1 .2 .2 .5 .5 0 0 .1 .1"}, images("images/{}.jpg"), "keypoints", "6 keypoint"),
        (CLASSES | YOLO, images("images/{}.gif"), "series", "3 like this in all"),
        ({"r.json": coco(stems="ab")}, images("{}.jpg"), "unlisted", "no annotation names it"),
        ({"r.json": coco(name=lambda _: "")}, images("{}.jpg"), "class", "empty name"),
        ({f"Annotations/{s}.xml": xml(s) for s in "ab"}, images("JPEGImages/{}.jpg"), "unannotated", "no XML describes it"),
        (CLASSES | {"labels/a.txt": yolo("a"), "labels/c.txt": ""}, images("images/{}.jpg"), "unannotated", "no label file describes it"),
        ({"Annotations/a.xml": xml("a", "b.jpg"), "Annotations/b.xml": xml("b")}, images("JPEGImages/{}.jpg", "ab"), "filename", "names 'b.jpg'"),
        ({f"Annotations/{s}.xml": xml(s) for s in "abc"}, [*images("JPEGImages/{}.jpg"), "JPEGImages/a.png"], "shared-labels", "another suffix"),
        ({f"{s}.json": labelme(s) for s in "abc"}, [*images("{}.jpg"), "a.png"], "shared-labels", "another suffix"),
        ({"Annotations/a.xml": xml("a").replace(">cat<", "><")}, ["JPEGImages/a.jpg"], "class", "an empty name"),
        ({f"Annotations/{s}.xml": xml(s) for s in "ab"} | {"ImageSets/Main/train.txt": "a", "ImageSets/Main/night.txt": "b"},
         images("JPEGImages/{}.jpg", "ab"), "unlisted", "not the list of a usual split"),
        ({f"train/{s}.xml": xml(s) for s in "a"} | {"b.xml": xml("b")}, ["train/a.jpg", "b.jpg"], "outside-splits", "outside the folders train"),
        ({"a.json": labelme("a"), "b.json": labelme("b")[:60]}, images("{}.jpg", "ab"), "annotation", "not JSON, or cut short"),
        ({"a.json": labelme("a"), "b.json": labelme("b").replace("b.jpg", "a.jpg")}, images("{}.jpg", "ab"), "filename", "imagePath names 'a.jpg'"),
        ({"e.json": label_studio().replace('"type": "rectanglelabels", "value": {"x": 12.5, "y"', '"type": "brushlabels", "value": {"rle": [0], "z"', 1)}, images("photos/{}.jpg"),
         "row", "expected a rectangle, polygon or ellipse, found 'brushlabels'"),
        ({"e.json": label_studio().replace(', "rectanglelabels": ["dog"]', "").replace('"type": "rectanglelabels"', '"type": "rectangle"')}, images("photos/{}.jpg"),
         "class", "expected a class for the rectangle, found none"),
        ({"annotations.xml": cvat().replace("<box", "<brush", 1)}, images("images/{}.jpg"), "row", "expected a box, found a brush"),
        ({"annotations.xml": cvat().replace("<box", "<skeleton", 1)}, images("images/{}.jpg"), "row", "at least two visible points, found 0"),
        ({"t.csv": tensorflow().replace("class", "split,class").replace(".jpg,", ".jpg,train,")}, images("{}.jpg"), "setting", "the column 'split' is not used"),
        (CLASSES | {f"labels/{s}.txt": yolo(s).replace("1 ", "2 ", 1).replace("0 ", "1 ", 1) for s in "abc"}, images("images/{}.jpg"), "class", "do the numbers count from 1?"),
        ({"obj.data": "classes = 2\ntrain = train.txt\nvalid = test.txt\nnames = obj.names", "obj.names": "cat\ndog", "train.txt": "a.jpg", "a.txt": yolo("a")},
         ["a.jpg"], "split-absent", "expected the list valid = test.txt, found no such file"),
        ({"train.txt": lines("ours") + "\n" + lines("ours", "b").replace("6,", "7,"), **CLASSES}, images("{}.jpg"), "listed-twice", "different boxes"),
    ],
)  # fmt: skip
def test_whatever_is_dropped_is_reported(
    tmp_path: Path, files: Files, names: list[str], kind: str, what: str
) -> None:
    problems = load_samples(put(tmp_path, files, names)).problems
    assert [p.kind for p in problems if what in p.what][:1] == [kind]


def test_images_found_outside_the_data_are_noted(tmp_path: Path) -> None:
    a, b, c = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    put(a, {"mine/r.json": coco()}, images("other/images/{}.jpg"))
    put(b, {"annotations/r.json": coco()}, images("images/{}.jpg"))
    yaml = "path: .\nnames: [cat, dog]\ntrain: annotations/train\n"
    put(c, {"annotations/train/r.json": coco(), "data.yaml": yaml}, images("images/{}.jpg"))
    elsewhere = load_samples(a / "mine"), load_samples(b / "annotations")
    beside = [load_samples(b / "annotations" / "r.json"), load_samples(b), load_samples(c / "data.yaml")]
    beside.append(load_samples(c / "annotations" / "train" / "r.json"))
    given = load_samples(a / "mine", images=a / "other" / "images")
    for found in (*elsewhere, *beside, given):
        assert found.samples
        noted = [p.place for p in found.problems if p.kind == "elsewhere"]
        assert noted == ([str(found.samples[0].path.parent)] if found in elsewhere else [])


def test_labels_without_an_image_are_named(tmp_path: Path) -> None:
    put(tmp_path, {"data.yaml": "names: [cat, dog]\ntrain: images\n", **YOLO}, images("images/{}.jpg", "ac"))
    found = load_samples(tmp_path, "train")
    assert [(p.kind, p.place) for p in found.problems if p.outcome == "skipped"] == [
        ("orphan", str(tmp_path / "labels" / "b.txt"))
    ]


def test_a_missing_image_is_not_replaced_by_a_namesake(tmp_path: Path) -> None:
    """The folders of the other names are correct, so those of the missing image count too."""
    names = [f"cam_{s}/{s}.jpg" for s in "ab"]
    put(tmp_path, {"r.json": coco("cam_{0}/{0}.jpg", "abc")}, [*names, "cam_x/c.jpg"])
    found = load_samples(tmp_path / "r.json")
    assert sorted(boxes(found)) == ["a", "b"]
    assert [p.kind for p in found.problems if p.outcome == "skipped"] == ["missing"]


def test_one_name_in_two_folders_is_ambiguous(tmp_path: Path) -> None:
    put(tmp_path, {"r.json": coco("z/{}.jpg")}, [*images("x/{}.jpg"), "y/a.jpg"])
    found = load_samples(tmp_path)
    assert sorted(boxes(found)) == ["b", "c"]
    assert [p.kind for p in found.problems if p.outcome == "skipped"] == ["missing"]


def test_annotations_of_unknown_images_are_an_error(tmp_path: Path) -> None:
    put(tmp_path, {"r.json": coco(image_id=lambda i: i + 50)}, images("{}.jpg"))
    with pytest.raises(AnnotationError, match="none of its 3 annotations belongs to an image"):
        load_samples(tmp_path)


def test_images_that_share_an_id_are_skipped(tmp_path: Path) -> None:
    text = coco().replace('"id": 1, "file_name": "b.jpg"', '"id": 0, "file_name": "b.jpg"')
    found = load_samples(put(tmp_path, {"r.json": text}, images("{}.jpg")))
    assert boxes(found) == {"c": []}
    assert "'b.jpg' and 'a.jpg' share the id 0" in next(
        p.what for p in found.problems if p.kind == "shared-id"
    )


@pytest.mark.parametrize("case", ["coco, Windows paths", "labelme", "label studio", "createml"])
def test_space_around_a_class_name_is_stripped(tmp_path: Path, case: str) -> None:
    files, names = EXPORTS[case]
    spaced = {name: text.replace('"dog"', '" dog\\t"') for name, text in files.items()}
    assert spaced != files
    assert load_samples(put(tmp_path / "x", spaced, names)).names == NAMES


def test_two_categories_of_one_name_are_one_class(tmp_path: Path) -> None:
    text = coco().replace(
        '"categories": [', '"categories": [{"id": 9, "name": "dog", "supercategory": "none"}, '
    )
    found = load_samples(put(tmp_path, {"r.json": text}, images("{}.jpg")))
    assert (found.names, found.category_ids) == (NAMES, (1, 2))


@pytest.mark.parametrize(
    ("codec", "said"),
    [("gb2312", "猫"), ("big5", "貓"), ("shift_jis", "猫"), ("iso-8859-1", "ñu"), ("utf-16", "猫")],
)
def test_xml_is_read_in_its_declared_encoding(tmp_path: Path, codec: str, said: str) -> None:
    put(tmp_path, {}, images("{}.jpg", "a"))
    text = f'<?xml version="1.0" encoding="{codec}"?>' + xml("a").replace(">cat<", f">{said}<")
    (tmp_path / "a.xml").write_bytes(text.encode(codec))
    assert set(load_samples(tmp_path).names) == {said, "dog"}


@pytest.mark.parametrize(
    ("files", "what"),
    [
        (
            {f"{s}.xml": xml(s).replace("<filename>", "\n<filename>x&y") for s in "abc"},
            r"a\.xml:2: .*& must be written &amp;.*3 like this",
        ),
        (
            {"via.json": '{"a.jpg1": {"filename": "a.jpg", "regions": [{"shape_attributes": {}}]}}'},
            "via.json is VIA.*export as COCO",
        ),
        (
            {"a.jpg.json": '{"description": "", "tags": [], "size": {}, "objects": []}'},
            "Supervisely.*export as COCO",
        ),
        ({"a.json": '{"item": {}, "annotations": []}'}, "V7"),
        ({"d.json": '{"info": {}, "categories": {}, "items": []}'}, "Datumaro"),
        ({"train.tfrecord": "x"}, "TFRecord"),
        ({"a.ndjson": "{}"}, "NDJSON"),
        (
            {
                "label_2/000001.txt": "Car 0.00 0 -1.58 587.0 173.3 614.1 200.1 1.6 1.7 4.2 -0.6 1.7 46.7 -1.59\n"
            },
            "KITTI",
        ),
        ({"0.txt": "Car -1 -1 -10 587.0 173.3 614.1 200.1 -1 -1 -1 -1000 -1000 -1000 -10 0.95\n"}, "KITTI"),
        ({"labels/a.txt": "1.0 2.0 3.0 2.0 3.0 4.0 1.0 4.0 plane 0\n"}, "DOTA"),
        ({"annotations/a.txt": "10,20,30,40,1,4,0,0\n"}, "VisDrone"),
        ({"gt/gt.txt": "1,1,10,20,30,40,1,1,0.9\n"}, "MOT"),
        ({"gt.txt": "x/a.jpg\n1\n1 2 30 40 0 0 0 0 0 0\n"}, "WIDER FACE"),
        (
            {"v.json": '{"project": {}, "config": {}, "file": {}, "metadata": {}, "view": {}}'},
            "v.json is VIA,",
        ),
        ({"v.csv": "# Exported using VGG Image Annotator (x)\n# CSV_HEADER = metadata_id\n"}, "VIA 3"),
        ({"a.json": '{"asset": {}, "regions": [], "version": "2.1.0"}'}, "VoTT"),
        ({"a.json": '{"dataset": "x", "image": {}, "annotations": []}'}, "V7"),
        (
            {"r.json": '[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 0.5}]'},
            "COCO results",
        ),
        ({"o.manifest": '{"source-ref": "s3://x/a.jpg"}'}, "Amazon"),
        (
            {"m.csv": "image,id,label,annotator,annotation_id,created_at,updated_at,lead_time,labels\n"},
            "Label Studio",
        ),
        (
            {"w.csv": "image_id,width,height,bbox,source\na,80,60,x,y\n"},
            "expected the columns filename, xmin, .*'image_id,width,",
        ),
        ({"export.zip": "PK"}, "found none outside export.zip: pass .*export.zip"),
        (
            {"x.xml": xml("a").replace("cat", "\ufffd").replace("<annotation>", '<annotation a="\x01">')},
            "damaged",
        ),
        (
            {f"{s}.xml": re.sub("<xmin>.*?</xmin>", "<xmin>9999</xmin>", xml(s)) for s in "abc"},
            r"a\.xml.*expected a box with an area, found \[9999",
        ),
        (
            {
                "a.json": '{"images": [{"id": 1, "file_name": "images/a.jpg"}], "annotations": [{"id": 1, "image_id": 1,'
                ' "category_id": 1, "bbox": [8, 8, 9, 9]}], "categories": [{"id": 1, "name": "\\ud800"}]}'
            },
            r"expected class names that UTF-8 can hold, found '\\ud800'",
        ),
        ({"data.yaml": "a: &a [x]\nnames: [*a]\ntrain: images"}, "not YAML: aliases are not read"),
        ({"data.yaml": "names: " + "[" * 40}, "nested too deep"),
        ({"data.yaml": f"names: [{', '.join(['n'] * 1000)}]\ntrain: images"}, "found 'n' again"),
        ({"data.yaml": f"names: [a]\nnc: {'9' * 5000}\ntrain: images"}, "expected 9{20} class names"),
    ],
)
def test_an_unusable_export_gives_one_line(tmp_path: Path, files: Files, what: str) -> None:
    put(tmp_path, files, images("images/{}.jpg"))
    with pytest.raises(AnnotationError, match=what) as caught:
        load_samples(tmp_path)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)


def test_the_length_of_a_problem_is_bounded(tmp_path: Path) -> None:
    text = (
        coco().replace("a.jpg", "q" * 300_000).replace('"image_id": 1', '"image_id": "' + "z" * 300_000 + '"')
    )
    found = load_samples(put(tmp_path, {"r.json": text}, images("{}.jpg")))
    assert {"missing", "row"} <= {p.kind for p in found.problems}
    assert max(len(str(p)) for p in found.problems) < 1300
    assert all(p.image is None or len(str(p.image)) < 5000 for p in found.problems)
    with pytest.raises(AnnotationError, match="expected class names of at most 500 characters"):
        load_samples(put(tmp_path, {"r.json": coco(name=lambda name: name * 1000)}, []))


def test_a_class_with_only_inverted_boxes_is_explained(tmp_path: Path) -> None:
    text = (
        xml("a").replace("<xmin>40</xmin>", "<xmin>70</xmin>").replace("<xmax>60</xmax>", "<xmax>40</xmax>")
    )
    found = load_samples(put(tmp_path, {"a.xml": text}, images("{}.jpg", "a")))
    assert found.names == ("cat",)
    assert [p.what for p in found.problems] == [
        "[70, 20, 40, 50] has no area or is inverted, and no usable box has its class 'dog'"
    ]


def test_labelme_uses_the_image_in_the_matching_folder(tmp_path: Path) -> None:
    files = {"json/x/a.json": labelme("a"), "json/y/a.json": labelme("a").replace('"cat"', '"dog"')}
    found = load_samples(put(tmp_path, files, ["images/x/a.jpg", "images/y/a.jpg"]))
    where = [sample.path.relative_to(tmp_path).as_posix() for sample in found.samples]
    assert where == ["images/x/a.jpg", "images/y/a.jpg"]
    assert [sorted(sample.labels.tolist()) for sample in found.samples] == [[0, 1], [1, 1]]


def test_labelme_uses_no_image_if_no_folder_matches(tmp_path: Path) -> None:
    files = {"json/a.json": labelme("a"), "json/b.json": labelme("b")}
    found = load_samples(put(tmp_path, files, ["images/x/a.jpg", "images/y/a.jpg", "images/x/b.jpg"]))
    assert boxes(found) == {"b": sorted(BOXES["b"])}
    assert [p.kind for p in found.problems if p.outcome == "skipped"] == ["shared-labels"]


def test_an_unlabeled_test_split_does_not_stop_the_others(tmp_path: Path) -> None:
    text = "names: [cat, dog]\ntrain: images\ntest: test/images\n"
    put(tmp_path, {"data.yaml": text, **YOLO}, [*images("images/{}.jpg"), "test/images/a.jpg"])
    sets = load_splits(tmp_path)
    assert sets.keys() == {"train"}
    assert [p.kind for p in sets["train"].problems if p.outcome == "noted"].count("split-absent") == 1
    with pytest.raises(AnnotationError, match="1 image, no annotations"):
        load_samples(tmp_path, "test")


def test_lists_of_one_split_in_two_folders_are_merged(tmp_path: Path) -> None:
    files = {"x/train.txt": "images/a.jpg", "x/labels/a.txt": yolo("a")}
    files |= {"y/train.txt": "images/b.jpg", "y/labels/b.txt": yolo("b")}
    files |= {"x/classes.txt": "cat\ndog", "y/classes.txt": "cat\ndog"}
    put(tmp_path, files, ["x/images/a.jpg", "y/images/b.jpg"])
    assert boxes(load_samples(tmp_path, "train")) == {stem: sorted(BOXES[stem]) for stem in "ab"}
    (tmp_path / "y" / "classes.txt").write_text("dog\ncat")
    with pytest.raises(AnnotationError, match=r"expected the class names of .*x/train\.txt, found others"):
        load_samples(tmp_path, "train")


def test_a_voc_object_may_have_several_boxes(tmp_path: Path) -> None:
    second = "</bndbox><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>3</xmax><ymax>4</ymax></bndbox>"
    found = load_samples(
        put(tmp_path, {"b.xml": xml("b").replace("</bndbox>", second)}, images("{}.jpg", "b"))
    )
    assert boxes(found) == {"b": [("dog", 1, 2, 3, 4), ("dog", 6, 10, 24, 50)]}


def test_an_image_list_finds_labels_outside_the_image_folder(tmp_path: Path) -> None:
    """CVAT's export without images has a list with their original paths."""
    text = "names: [cat, dog]\npath: .\ntrain: train.txt\n"
    files = {"data.yaml": text, "train.txt": "\n".join(images("data/images/train/{}.jpg"))}
    put(tmp_path / "x", files | {f"labels/train/{s}.txt": yolo(s) for s in "abc"}, [])
    put(tmp_path / "photos", {}, images("{}.jpg"))
    found = load_samples(tmp_path / "x", "train", images=tmp_path / "photos")
    assert boxes(found) == {stem: sorted(each) for stem, each in BOXES.items()}


def test_a_second_image_of_one_xml_is_skipped(tmp_path: Path) -> None:
    files = {"Annotations/a.xml": xml("a"), "Annotations/b.xml": xml("b")}
    found = load_samples(put(tmp_path, files, ["x/a.jpg", "y/a.jpg", "x/b.jpg"]))
    assert [sample.path.relative_to(tmp_path).as_posix() for sample in found.samples] == [
        "x/a.jpg",
        "x/b.jpg",
    ]
    assert [p.kind for p in found.problems if p.outcome == "skipped"] == ["shared-labels"]


def test_a_polygon_on_the_border_is_not_read_as_key_points(tmp_path: Path) -> None:
    rows = "1 0 0 0 0.5 0 1 1 1 1 0\n0 0.2 0.3 0.9 0.3 0.95 0.6 1 0.9 0.5 1\n"
    found = load_samples(put(tmp_path, CLASSES | {"labels/a.txt": rows}, images("images/{}.jpg", "a")))
    assert boxes(found) == {"a": [("cat", 16, 18, 80, 60), ("dog", 0, 0, 80, 60)]}


@pytest.mark.parametrize("sides", [(0, 64), (float("nan"), 64), ("x", 64)])
def test_a_rotated_box_without_an_image_size_is_skipped(tmp_path: Path, sides: tuple[object, object]) -> None:
    """Rotating Label Studio's percentages requires the size that the result declares."""
    tasks = json.loads(label_studio())
    result = tasks[0]["annotations"][0]["result"][0]
    result["value"]["rotation"] = 30
    result["original_width"], result["original_height"] = sides
    folder = put(tmp_path / "x", {"export.json": json.dumps(tasks)}, images("photos/{}.jpg"))

    found = load_samples(folder)

    assert [problem.what[:40] for problem in found.problems if problem.outcome == "skipped"][:1] == [
        "expected x, y, width, height in percent,"
    ]


@pytest.mark.parametrize("name", ["http://[/{}.jpg", "http://[::1/{}.jpg?d=x"])
def test_an_image_named_by_an_invalid_url_is_found(tmp_path: Path, name: str) -> None:
    """Python refuses to parse such a URL."""
    text = coco(pattern=name)
    found = load_samples(put(tmp_path / "x", {"r.json": text}, images("{}.jpg")))
    assert {sample.path.stem for sample in found.samples} == set("abc")


def test_names_that_yaml_takes_for_dates_or_booleans_stay_text(tmp_path: Path) -> None:
    put(tmp_path, {"data.yaml": "names: [2024-13-45, no]\ntrain: images\n", **YOLO}, images("images/{}.jpg"))
    assert load_samples(tmp_path).names == ("2024-13-45", "no")


def test_a_missing_split_is_left_out_and_named(tmp_path: Path) -> None:
    text = "names: [cat, dog]\ntrain: images\ntest: ../test/images\n"
    found = open_annotations(put(tmp_path, {"data.yaml": text, **YOLO}, images("images/{}.jpg")))
    assert found.splits == ("train",)
    assert [p.what[-31:] for p in found.load("train").problems if p.kind == "split-absent"] == [
        "/images, found nothing there: skipped"[-31:]
    ]


@pytest.mark.parametrize("member", ["../a.txt", "/a.txt", "C:/a.txt", "x\\..\\a.txt", "x/../../a.txt"])
def test_a_zip_member_outside_the_folder_is_refused(
    tmp_path: Path, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("b.txt", "b")
        archive.writestr(zipfile.ZipInfo(member), "a")
    with pytest.raises(AnnotationError, match="refused: its member"):
        load_samples(tmp_path / "set.zip")
    assert [file for file in (tmp_path / "cache").rglob("*") if file.is_file()] == []


def test_a_broken_zip_and_a_zip_bomb_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "a.zip").write_bytes(base64.b64decode("UEsDBAo="))
    with pytest.raises(AnnotationError, match="expected a zip of a data set, found it unusable"):
        load_samples(tmp_path / "a.zip")
    monkeypatch.setattr("lookonce.annotations.archive.MOST_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "b.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", "a" * 100_000)
    with pytest.raises(AnnotationError, match=r"refused: \d+ bytes that unpack to 100,000"):
        load_samples(tmp_path / "b.zip")
