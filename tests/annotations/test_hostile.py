"""Test that any content of an annotation file is read, or refused in one sentence."""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookonce.annotations import load_samples
from lookonce.errors import LookonceError
from lookonce.images import write_image

XML = (
    b"<annotation><filename>a.png</filename><size><width>80</width><height>60</height></size><object>"
    b"<name>cat</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object>"
    b"</annotation>"
)
SOUND = {
    "lines.txt": b'images/a.png 1,2,30,40,0 5,6,7,8,1\n"images/a b.png" 1,2,3,4,0\n',
    "list.txt": b"images/a.png\n",
    "labels/a.txt": b"0 0.5 0.5 0.2 0.3\n",
    "Annotations/a.xml": XML,
    "ImageSets/Main/train.txt": b"a\n",
    "set.yaml": b"path: .\nnames: {0: cat, 1: dog}\nnc: 2\ntrain: lines.txt\nval: [list.txt]\n",
    "obj.data": b"classes = 2\ntrain = list.txt\nnames = obj.names\n",
    "obj.names": b"cat\ndog\n",
    "classes.txt": b"cat\ndog\n",
}
READ_BY = {"labels/a.txt": "list.txt", "obj.names": "obj.data", "Annotations/a.xml": "Annotations"}
PIECES = [
    b"nan",
    b"-1",
    b"1e999",
    b"\0",
    b"\xff",
    b'"',
    b",",
    b"[",
    b"{",
    b"<x>",
    b"&#0;",
    b"A" * 5000,
    b"..",
    b"&a",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("a\0b"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    write_image(folder / "images" / "a.png", np.zeros((60, 80, 3), np.uint8))
    for name, content in SOUND.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def read(path: Path) -> None:
    with contextlib.suppress(LookonceError):
        found = load_samples(path)
        assert found.describe()
        assert all(str(problem) for problem in found.problems)


@settings(max_examples=100, deadline=None)
@given(
    name=st.sampled_from(sorted(set(SOUND) - {"classes.txt"})),
    piece=st.sampled_from(PIECES) | st.binary(max_size=3),
    place=st.floats(0, 1),
    removed=st.integers(0, 9) | st.just(10_000),
)
def test_damaged_text_is_read_or_refused(
    desk: Path, name: str, piece: bytes, place: float, removed: int
) -> None:
    start = round(place * len(SOUND[name]))
    (desk / name).write_bytes(SOUND[name][:start] + piece + SOUND[name][start + removed :])
    read(desk / READ_BY.get(name, name))
    (desk / name).write_bytes(SOUND[name])


@settings(max_examples=100, deadline=None)
@given(
    where=st.sampled_from(["images", "annotations", "categories"]),
    key=st.sampled_from(
        ["", "id", "file_name", "width", "image_id", "category_id", "bbox", "iscrowd", "name"]
    ),
    value=json_values,
)
def test_json_of_any_shape_is_read_or_refused(desk: Path, where: str, key: str, value: Any) -> None:
    tree: dict[str, Any] = {
        "images": [{"id": 5, "file_name": "images/a.png"}, {"id": 6, "file_name": "images/a b.png"}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    if key:
        tree[where][-1][key] = value
    else:
        tree[where] = value
    (desk / "x.json").write_text(json.dumps(tree))
    read(desk / "x.json")
