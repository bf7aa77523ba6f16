"""YOLO and Darknet text: a `.txt` of labels for each image.

    class centre_x centre_y width height        all but the class in fractions of the image's sides

The labels lie in a folder `labels` beside the folder `images` (or VOC's `JPEGImages`), or next to the
image. An image without a label file is a background image. The classes have names in `classes.txt` or a
`*.names` beside, in Darknet's `obj.data`, or in a dataset YAML (see `dataset_yaml`).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from lookonce._files import replacing, write_text
from lookonce.annotations.collect import Collector, Names, Row
from lookonce.annotations.files import (
    IMAGE_FOLDERS,
    SPLIT_WORDS,
    around,
    find_names,
    image_roots,
    images_by_stem,
    is_file,
    one_each,
    read_lines,
    read_names,
    root_of,
    split_in,
)
from lookonce.annotations.layout import distinct, gather, stems_of, write_dataset_yaml
from lookonce.annotations.lines import split_line
from lookonce.annotations.source import ALL, Source
from lookonce.errors import AnnotationError
from lookonce.geometry.boxes import xyxy_to_cxcywh
from lookonce.samples import Sample, SampleSet

MOST = 2.0  # a fraction above this is no rounding: someone wrote pixels

Pair = tuple[str, Path, Path | None]  # where the image is listed, the image, its labels


def recognise(path: Path) -> Source | None:
    """`obj.data`, a list of images (`.txt`), or a folder of images and labels."""
    if path.suffix.lower() == ".data":
        return _darknet(path)
    if path.suffix.lower() == ".txt":
        return _image_list(path)
    if not path.is_dir():
        return None
    if len(data := list(path.glob("*.data"))) == 1:
        return _darknet(data[0])
    folders = _folders_by_split(path)
    if not any(_has_labels(folder) for folder in folders.values()):
        return None
    parts = {split: partial(_read_folder, folder, path) for split, folder in folders.items()}
    return Source(path, f"YOLO folder {path}", parts)


def _image_list(path: Path) -> Source | None:
    """A text of paths alone, of images that have labels."""
    listed = [split_line(text) for _, text in read_lines(path)]
    if not listed or any(boxes for _, boxes in listed):
        return None
    try:
        root = root_of((image for image, _ in listed), _list_roots(path), path)
    except AnnotationError:
        return None
    if not any(label_file(root / image) for image, _ in listed):
        return None
    return Source(path, f"YOLO list of images {path}", {ALL: partial(_read_list, path)})


def _folders_by_split(folder: Path) -> dict[str, Path]:
    """The image folders of `images/train`, of `train/images`, of `images`, or the folder itself."""
    inner = [*(folder / "images").glob("*/"), *folder.glob("*/images/")]
    claims = ((split_in(each.relative_to(folder).as_posix()), each) for each in sorted(inner))
    splits = one_each(folder, ((split, each) for split, each in claims if split))
    if splits:
        return splits
    return {ALL: folder / "images" if (folder / "images").is_dir() else folder}


def _has_labels(folder: Path) -> bool:
    return any(label_file(image) for image in images_by_stem(folder).values())


def label_file(image: Path) -> Path | None:
    """The labels of an image: in the parallel folder `labels`, else beside it; None for a background."""
    parts, labels = image.parts, f"{image.stem}.txt"
    for name in IMAGE_FOLDERS:
        if name in parts:
            last = len(parts) - 1 - parts[::-1].index(name)
            parallel = Path(*parts[:last], "labels", *parts[last + 1 : -1], labels)
            if is_file(parallel):
                return parallel
    beside = image.with_name(labels) if image.name else image
    return beside if is_file(beside) else None


def _read_folder(folder: Path, top: Path, names: Names | None, strict: bool) -> SampleSet:
    pairs = ((str(path), path, label_file(path)) for path in sorted(images_by_stem(folder).values()))
    found = names or _names_near(top, folder, folder.parent / "labels")
    return _read_pairs(list(pairs), found, strict, f"images in {folder}")


def _read_list(path: Path, names: Names | None, strict: bool) -> SampleSet:
    pairs = _listed_pairs(path)
    return _read_pairs(pairs, names or _names_near(path.parent), strict)


def _listed_pairs(path: Path) -> list[Pair]:
    lines = [(line, split_line(text)[0]) for line, text in read_lines(path)]
    root = root_of((image for _, image in lines), _list_roots(path), path)
    return [(f"{path}:{line}", root / image, label_file(root / image)) for line, image in lines]


def _read_pairs(pairs: Sequence[Pair], names: Names, strict: bool, origin: str = "") -> SampleSet:
    """Read the labels of images.

    Raises:
        AnnotationError: not one of the images has labels; or a problem in strict mode.
    """
    if pairs and not any(labels for _, _, labels in pairs):
        raise AnnotationError(
            f"{pairs[0][0]}: expected labels beside the images or in a parallel folder `labels`, "
            f"found none for any of {len(pairs)} images, {pairs[0][1]} for one"
        )
    collector = Collector(names, strict)
    for place, image, labels in pairs:
        try:
            rows = list(_rows(labels)) if labels else []
        except AnnotationError as error:  # a label file that is no text
            collector.report(place, str(error), kind="annotation", image=image)
            continue
        collector.add(image, rows, place, relative=True)
    return collector.result("yolo", origin)


def _rows(labels: Path) -> Iterator[Row]:
    for line, text in read_lines(labels):
        yield _row(f"{labels}:{line}", text)


def _row(place: str, text: str) -> Row:
    try:
        label, *sides = map(float, text.split())
        if len(sides) != 4 or label != int(label):
            raise ValueError(text)
    except (ValueError, OverflowError):
        return Row(
            place, fault=f"expected class, centre x, centre y, width, height as numbers, found {text!r}"
        )
    if max(map(abs, sides)) > MOST:
        return Row(place, fault=f"expected fractions of the image's sides, found {text!r}: are these pixels?")
    return Row(place, (sides[0], sides[1], sides[2], sides[3]), int(label))


def _names_near(*folders: Path) -> Names:
    found = find_names(*folders)
    if not found:
        raise AnnotationError(
            f"{folders[0]}: its classes are numbers; give the file of their names (--names FILE)"
        )
    return read_names(found)


def _list_roots(path: Path) -> list[Path]:
    """Darknet's paths start where Darknet was started, most often above the folder of the list."""
    return [*around(path.parent), *image_roots(path.parent), Path()]


def _darknet(path: Path) -> Source:
    """`obj.data`: key = value, with the lists of images and the names."""
    settings = _settings(path)
    parts = {
        SPLIT_WORDS[key]: partial(_read_darknet, path, key, settings)
        for key in ("train", "valid", "test")
        if key in settings
    }
    if not parts:
        raise AnnotationError(f"{path}: expected train = or valid = with a list of images, found neither")
    return Source(path, f"Darknet data file {path}", parts)


def _settings(path: Path) -> dict[str, str]:
    settings = {}
    for line, text in read_lines(path):
        key, equals, value = (part.strip() for part in text.partition("="))
        if not equals and not text.startswith("#"):
            raise AnnotationError(f"{path}:{line}: expected key = value, found {text!r}")
        settings[key] = value
    return settings


def _read_darknet(
    path: Path, key: str, settings: Mapping[str, str], names: Names | None, strict: bool
) -> SampleSet:
    names = names or _darknet_names(path, settings)
    listed = _find(path, settings[key])
    labels = path.parent / f"obj_{key}_data"
    if labels.is_dir():
        return _read_pairs(_exported_pairs(path, listed, labels), names, strict, f"labels in {labels}")
    if not listed:
        raise AnnotationError(f"{path}: expected the list {key} = {settings[key]}, found no such file")
    return _read_pairs(_listed_pairs(listed), names, strict, f"list {listed}")


def _exported_pairs(path: Path, listed: Path | None, labels: Path) -> list[Pair]:
    """CVAT's export: labels in `obj_train_data`, most often without the images and sometimes the list.

    The images are found by name, beside the labels or in a folder of images around.
    """
    places = {str(file): file.stem for file in sorted(labels.glob("*.txt"))}
    if listed:
        places = {f"{listed}:{line}": Path(split_line(text)[0]).stem for line, text in read_lines(listed)}
    by_root = [images_by_stem(root) for root in (labels, *image_roots(path.parent))]
    images = next((found for found in by_root if found.keys() & set(places.values())), {})
    pairs = []
    for place, stem in places.items():
        file = labels / f"{stem}.txt"
        pairs.append((place, images.get(stem, labels / f"{stem}.jpg"), file if file.is_file() else None))
    return pairs


def _darknet_names(path: Path, settings: Mapping[str, str]) -> Names:
    found = _find(path, settings.get("names", "")) or find_names(path.parent)
    if not found:
        raise AnnotationError(f"{path}: expected names = with a file of class names, found no such file")
    names = read_names(found)
    if settings.get("classes", str(len(names))) != str(len(names)):
        raise AnnotationError(
            f"{path}: expected {settings['classes']} class names (classes =), found {len(names)} in {found}"
        )
    return names


def _find(path: Path, value: str) -> Path | None:
    """A file that `obj.data` names; paths start where Darknet was started, often one folder above."""
    tried = [*(base / value for base in around(path.parent)), path.parent / Path(value).name]
    return next((file for file in tried if is_file(file)), None)


def write(out: Path, sets: Mapping[str, SampleSet]) -> Path:
    """Write `data.yaml`, a list for each split, `labels`, and `images`, which is full of links."""
    named = distinct(sets)
    images = gather(named, out / "images")
    for stem, sample in named.items():
        lines = "".join(f"{line}\n" for line in _lines(sample))
        with replacing(out / "labels" / f"{stem}.txt", durable=False) as temporary:
            temporary.write_text(lines, encoding="utf-8")
    for split, samples in sets.items():
        listed = (f"./images/{images[stem].name}\n" for stem in stems_of(samples, named))
        write_text(out / f"{split}.txt", "".join(listed))
    write_dataset_yaml(out / "data.yaml", next(iter(sets.values())).names, sets)
    return out / "data.yaml"


def _lines(sample: Sample) -> Iterator[str]:
    """Ten decimals: read back, a box is the same to the last bit of float32 on most images."""
    height, width = sample.image_size
    relative = xyxy_to_cxcywh(sample.boxes.astype(np.float64)) / (width, height, width, height)
    for label, sides in zip(sample.labels.tolist(), relative.tolist(), strict=True):
        yield " ".join([str(label), *(f"{side:.10f}" for side in sides)])
