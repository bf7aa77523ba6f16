from pathlib import Path

import pytest

from lookonce.annotations import load_samples, write_samples
from lookonce.annotations.lines import split_line
from lookonce.errors import AnnotationError
from lookonce.samples import SampleSet

from .conftest import ImageMaker


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [
        ("some/dir/hash.jpg 79,537,107,574,0 297,547,318,575,0", "some/dir/hash.jpg", 2),
        ("a.jpg", "a.jpg", 0),
        ('"a b.jpg" 1,2,3,4,0', "a b.jpg", 1),
        ("'a b.jpg'", "a b.jpg", 0),
        ('"say ""hi"".jpg" 1,2,3,4,0', 'say "hi".jpg', 1),
        ("'it''s.jpg' 1,2,3,4,0", "it's.jpg", 1),
        ("no quotes at all.JPG 1,2,3,4,0", "no quotes at all.JPG", 1),
        ("école/ñandú.png\t1,2,3,4,0", "école/ñandú.png", 1),
        ("no-suffix 1,2,3,4,0", "no-suffix", 1),
        ('"open.jpg 1,2,3,4,0', '"open.jpg', 1),
    ],
)
def test_a_line_splits_into_path_and_boxes(line: str, path: str, words: int) -> None:
    found = split_line(line)
    assert (found[0], len(found[1])) == (path, words)


def write(tmp_path: Path, text: str | bytes, names: str = "cat\ndog\n") -> Path:
    (tmp_path / "classes.txt").write_text(names)
    file = tmp_path / "train.txt"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


def test_an_empty_file_is_an_empty_set(tmp_path: Path) -> None:
    found = load_samples(write(tmp_path, ""))
    assert (found.samples, found.problems, found.format) == ([], [], "lines")


def test_boxes_labels_and_background_are_read(image: ImageMaker, tmp_path: Path) -> None:
    image("a b.png")
    image("images/c.png")
    found = load_samples(
        write(tmp_path, '\ufeff"a b.png" 1,2,30,40,1 5.5,6,7.25,8,0\r\n\r\nimages/c.png\r\n')
    )
    first, second = found.samples
    assert (first.path, second.path) == (tmp_path / "a b.png", tmp_path / "images" / "c.png")
    assert first.boxes.tolist() == [[1, 2, 30, 40], [5.5, 6, 7.25, 8]]
    assert first.labels.tolist() == [1, 0]
    assert second.boxes.shape == (0, 4)
    assert found.names == ("cat", "dog")
    assert [str(p) for p in found.problems] == [
        f"{tmp_path}/train.txt:3: no object: kept as a background image"
    ]
    assert "classes.txt" in found.describe()


@pytest.mark.parametrize(
    "word", ["1,2,3,4", "1,2,3,4,0,5", "1,2,x,4,0", "1,2,3,4,0.5", "1,2,3,4,nan", "cat", "1,,3,4,0"]
)
def test_a_bad_box_names_its_line(image: ImageMaker, tmp_path: Path, word: str) -> None:
    image("a.png")
    file = write(tmp_path, f"\na.png 1,2,3,4,0 {word}\n")
    found = load_samples(file)
    assert found.samples[0].boxes.tolist() == [[1, 2, 3, 4]]
    (problem,) = found.problems
    assert problem.place == f"{file}:2: box 2"
    assert repr(word) in problem.what
    with pytest.raises(AnnotationError, match=r"train.txt:2: box 2"):
        load_samples(file, strict=True)


def test_paths_may_be_relative_to_the_parent_folder(image: ImageMaker, tmp_path: Path) -> None:
    image("photos/a.png")
    (tmp_path / "lists").mkdir()
    found = load_samples(write(tmp_path / "lists", "photos/a.png 1,2,3,4,0"))
    assert found.samples[0].path == tmp_path / "photos" / "a.png"


def test_one_missing_image_is_skipped_all_missing_is_an_error(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    found = load_samples(write(tmp_path, "a.png 1,2,3,4,0\nb.png 1,2,3,4,0\n"))
    assert len(found.samples) == 1
    assert found.problems[0].place == f"{tmp_path}/train.txt:2"
    with pytest.raises(AnnotationError, match="none of its 2 images was found"):
        load_samples(write(tmp_path, "b.png 1,2,3,4,0\nc.png 1,2,3,4,0\n"))


def test_missing_class_names_are_asked_for(image: ImageMaker, tmp_path: Path) -> None:
    image("a.png")
    file = write(tmp_path, "a.png 1,2,3,4,0")
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(AnnotationError, match=r"^names: .*txt: its classes are numbers"):
        load_samples(file)
    assert load_samples(file, names=("head",)).names == ("head",)


def test_heads_reads_the_same_as_lines_and_as_voc(data: Path) -> None:
    lines = load_samples(data / "heads" / "val_lines.txt")
    voc = load_samples(data / "heads", "val")
    assert [s.path.name for s in lines.samples] == [s.path.name for s in voc.samples]
    assert [s.boxes.tolist() for s in lines.samples] == [s.boxes.tolist() for s in voc.samples]
    assert [
        s.path.name for s in load_samples(data / "heads" / "train_lines.txt").samples if not len(s.boxes)
    ] == ["PartA_00595.jpg"]


def test_names_with_quotes_or_spaces_survive_writing(image: ImageMaker, tmp_path: Path) -> None:
    names = ['say "hi".png', "it's.png", "two words.png", "plain.png", "ñ.png"]
    text = "".join(f'"{image(name).name.replace(chr(34), chr(34) * 2)}" 1,2,3,4,0\n' for name in names)
    found = load_samples(write(tmp_path, text))
    write_samples({"train": found}, "lines", tmp_path / "out")
    again = load_samples(tmp_path / "out" / "train.txt")
    assert [s.path.name for s in again.samples] == names
    assert (tmp_path / "out" / "train.txt").read_text().splitlines()[3] == "../plain.png 1,2,3,4,0"


def test_a_class_name_with_a_line_break_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="class names of one line"):
        write_samples({"train": SampleSet(("cat\ndog",), [], [], "coco")}, "lines", tmp_path / "out")
