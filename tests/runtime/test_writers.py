"""Files that the writers write."""

import csv
import json
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from lookonce.detections import Detections
from lookonce.draw.boxes import annotate
from lookonce.errors import ConfigError
from lookonce.images import read_image, write_image
from lookonce.runtime.geojson import GeoJsonWriter
from lookonce.runtime.sources import Frame, Sources
from lookonce.runtime.video import read_frames
from lookonce.runtime.video_checks import Moment
from lookonce.runtime.writers import CocoWriter, CountsWriter, CsvWriter, ImageWriter, JsonWriter, Writer
from lookonce.tiff import LargeImage
from tests.tiffs import geotiff_tags, write_tiff
from tests.videos import write_video

NAMES = ("cat", 'a "big", dog')


def frame(name: str = "pics/one.png", moment: Moment | None = None) -> Frame:
    return Frame(np.zeros((40, 60, 3), np.uint8), name, Path(name), moment=moment)


def two() -> Detections:
    boxes = np.array([[1, 2, 31.5, 22.25], [0, 0, 10, 10]], np.float32)
    return Detections(boxes, np.array([0.9, 0.5], np.float32), np.array([1, 0]), NAMES)


def write_file(path: Path) -> None:
    """A file of the suffix's kind: an image, a video of two frames, or a TIFF of two pages."""
    pixels = np.full((48, 64, 3), 90, np.uint8)
    if path.suffix in (".avi", ".mkv"):
        write_video(path, [pixels] * 2, 25, "MJPG")
    elif path.suffix == ".tif":
        Image.fromarray(pixels).save(path, save_all=True, append_images=[Image.fromarray(pixels)])
    else:
        Image.fromarray(pixels).save(path)


NONE = Detections.none(NAMES)

TEXT_WRITERS: list[Callable[[Path], Writer]] = [
    lambda path: JsonWriter(path, NAMES),
    CsvWriter,
    lambda path: CountsWriter(path, NAMES),
    lambda path: CocoWriter(path, [1, 2]),
]


def test_json_lists_every_image_and_detection(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "detections.json"
    with JsonWriter(path, NAMES) as writer:
        writer.add(frame("pics/ü.png"), two())
        writer.add(frame("clip.mp4", Moment(7, 0.28, 25.0)), NONE)
        assert not path.exists()  # before the file is complete

    assert json.loads(path.read_text(encoding="utf-8")) == {
        "names": list(NAMES),
        "images": [
            {
                "file": "pics/ü.png",
                "width": 60,
                "height": 40,
                "detections": [
                    {"class": NAMES[1], "score": 0.9, "box": [1, 2, 31.5, 22.25]},
                    {"class": "cat", "score": 0.5, "box": [0, 0, 10, 10]},
                ],
            },
            {"file": "clip.mp4", "width": 60, "height": 40, "frame": 7, "seconds": 0.28, "detections": []},
        ],
        "complete": True,
    }


def test_csv_has_one_row_per_detection(tmp_path: Path) -> None:
    path = tmp_path / "detections.csv"
    with CsvWriter(path) as writer:
        writer.add(frame('a,"b".png'), two())
        writer.add(frame("empty.png"), NONE)
        writer.add(frame("clip.mp4", Moment(3, 0.1, 25.0)), two()[:1])

    with path.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["file"], row["frame"], row["class"]) for row in rows] == [
        ('a,"b".png', "", NAMES[1]),
        ('a,"b".png', "", "cat"),
        ("empty.png", "", ""),
        ("clip.mp4", "3", NAMES[1]),
    ]
    assert [float(rows[0][side]) for side in ("left", "top", "right", "bottom")] == [1, 2, 31.5, 22.25]
    assert float(rows[0]["score"]) == 0.9


def read_rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))


def test_counts_are_per_image(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    with CountsWriter(path, (*NAMES, "=cmd")) as writer:
        writer.add(frame("a.png"), two())
        writer.add(frame("-b.png"), NONE)
        writer.add(frame("c.png"), two()[:1])
    assert read_rows(path) == [
        ["file", "second", *NAMES, "'=cmd", "all"],
        ["a.png", "", "1", "1", "0", "2"],
        ["'-b.png", "", "0", "0", "0", "0"],
        ["c.png", "", "0", "1", "0", "1"],
        ["total", "", "1", "2", "0", "3"],
    ]


def test_video_counts_are_the_maximum_per_second(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    many = two()[np.array([0, 0, 1])]
    with CountsWriter(path, NAMES) as writer:
        writer.add(frame("a.png"), two())
        for seconds, found in ((0.0, two()), (0.5, many), (1.0, NONE), (1.9, two()[1:]), (3.2, NONE)):
            writer.add(frame("one.mp4", Moment(0, seconds, 2.0)), found)
        writer.add(frame("two.mp4", Moment(0, 0.0, 2.0)), two())
        writer.add(frame("b.png"), NONE)
    assert read_rows(path)[1:] == [
        ["a.png", "", "1", "1", "2"],
        ["one.mp4", "0", "1", "2", "3"],
        ["one.mp4", "1", "1", "0", "1"],
        ["one.mp4", "3", "0", "0", "0"],
        ["two.mp4", "0", "1", "1", "2"],
        ["b.png", "", "0", "0", "0"],
        ["total", "", "3", "4", "7"],
    ]


def test_counts_may_be_of_some_classes_and_of_a_stopped_run(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    writer = CountsWriter(path, NAMES, [1])
    writer.add(frame("a.png"), two()[:1])
    writer.close(complete=False)
    assert read_rows(path) == [
        ["file", "second", NAMES[1], "all"],
        ["a.png", "", "1", "1"],
        ["total until stopped", "", "1", "1"],
    ]


def test_coco_results_are_read_by_pycocotools(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with CocoWriter(path, [18, 17], {"one.png": 139}) as writer:
        writer.add(frame(), two())
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": 139}],
        "categories": [{"id": 17}, {"id": 18}],
        "annotations": [],
    }
    truth.createIndex()

    found = truth.loadRes(str(path)).loadAnns([1, 2])

    assert [entry["category_id"] for entry in found] == [17, 18]
    assert found[0]["bbox"] == [1, 2, 30.5, 20.25]


@pytest.mark.parametrize(
    ("name", "moment", "image_id"),
    [
        ("val2017/000000000139.jpg", None, 139),
        ("dog.jpg", None, "dog"),
        ("clip.mp4", Moment(4, 0.2, 25.0), "clip-4"),
    ],
)
def test_coco_image_ids_come_from_the_name(
    tmp_path: Path, name: str, moment: Moment | None, image_id: int | str
) -> None:
    path = tmp_path / "results.json"
    with CocoWriter(path, [1, 2]) as writer:
        writer.add(frame(name, moment), two())

    assert {entry["image_id"] for entry in json.loads(path.read_text())} == {image_id}


def test_clashing_and_missing_coco_ids_are_refused(tmp_path: Path) -> None:
    with CocoWriter(tmp_path / "a.json", [1, 2]) as writer:
        writer.add(frame("a/1.png"), two())
        with pytest.raises(ConfigError, match=r"b/1\.png: expected .* found 1, which a/1\.png has too"):
            writer.add(frame("b/1.png"), two())
    with (
        CocoWriter(tmp_path / "b.json", [1, 2], {"2.png": 2}) as writer,
        pytest.raises(ConfigError, match=r"a/1\.png: the list of image ids does not have this file"),
    ):
        writer.add(frame("a/1.png"), two())


@pytest.mark.parametrize(
    ("names", "ids", "message"),
    [
        (
            ["a/1.png", "b/1.png"],
            None,
            r"b/1\.png: expected an image id of its own, found 1, which .*a/1\.png",
        ),
        (["7.png", "0007.bmp", "8.png"], None, r"7\.png: expected .* found 7, which .*0007\.bmp has too"),
        (["a.avi", "a.mkv"], None, r"a\.mkv: expected an image id of its own, found 'a-0', which .*a\.avi"),
        (["stack.tif", "stack#2.png"], None, r"stack#2\.png|stack\.tif#2: expected .* found 'stack#2'"),
        (["a.png", "b.png"], {"b.png": 3}, r"a\.png: the list of image ids does not have this file"),
        (["a/1.png", "b/1.png"], {"1.png": 3}, r"b/1\.png: expected .* found 3, which .*a/1\.png has too"),
    ],
)
def test_coco_ids_of_files_are_checked_at_the_start(
    tmp_path: Path, names: list[str], ids: dict[str, int] | None, message: str
) -> None:
    folder = tmp_path / "in"
    for name in names:
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        write_file(folder / name)
    sources = Sources(sorted({(folder / name).parent for name in names}))
    with (
        CocoWriter(tmp_path / "a.json", [1, 2], ids) as writer,
        pytest.raises(ConfigError, match=message),
    ):
        writer.check(sources)


@pytest.mark.parametrize("ids", [None, {"IMG_1.jpg": 3, "IMG_2.jpg": 4, "clip.avi": 5}])
def test_files_that_will_be_skipped_need_no_coco_id(tmp_path: Path, ids: dict[str, int] | None) -> None:
    """A camera's raw files lie beside its JPEGs under the same names."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("IMG_1.jpg", "IMG_2.jpg", "clip.avi"):
        write_file(folder / name)
    for name in ("IMG_1.cr2", "IMG_1.heic", "IMG_2.png", "clip.mp4"):
        (folder / name).write_bytes(b"something else")
    sources = Sources([folder])
    with CocoWriter(tmp_path / "a.json", [1, 2], ids) as writer:
        writer.check(sources)
        for each in sources:
            writer.add(each, two())

    assert {entry["image_id"] for entry in json.loads((tmp_path / "a.json").read_text())} == (
        {"IMG_1", "IMG_2", "clip-0", "clip-1"} if ids is None else {3, 4, 5}
    )


@pytest.mark.parametrize("make", TEXT_WRITERS)
def test_an_empty_result_is_a_valid_file(make: Callable[[Path], Writer], tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    with make(path):
        pass

    text = path.read_text()
    assert (
        json.loads(text) in ([], {"names": list(NAMES), "images": [], "complete": True})
        if (text[0] in "[{")
        else text.startswith(("file,frame,class,score,left,top,right,bottom\n", "file,second,cat,"))
    )


@pytest.mark.parametrize(
    ("make", "written"), list(zip(TEXT_WRITERS, ("31.5", "31.5", "one.png,,1,1,2", "30.5"), strict=True))
)
def test_a_stopped_run_keeps_its_results(
    make: Callable[[Path], Writer], written: str, tmp_path: Path
) -> None:
    path = tmp_path / "results.json"

    def stopped() -> None:
        with make(path) as writer:
            writer.add(frame(), two())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()

    text = path.read_text()
    assert written in text
    if text.startswith("{"):
        assert json.loads(text)["complete"] is False
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    writer = JsonWriter(tmp_path / "results.json", NAMES)
    writer._stream.close()
    full = Path("/dev/full").open("w", encoding="utf-8")  # noqa: SIM115  (the writer closes it)
    writer._stream = writer._open.enter_context(full)

    with pytest.raises(OSError, match="No space left"):
        writer.add(frame(), two())
    with pytest.raises(OSError, match="No space left"):
        writer.close(complete=False)
    assert list(tmp_path.iterdir()) == []


def test_annotated_images_keep_name_folder_and_size(tmp_path: Path) -> None:
    with ImageWriter(tmp_path) as writer:
        writer.add(frame("a/1.png"), two())
        writer.add(frame("b/1.png"), NONE)
        writer.add(frame("c/upload.dat"), two())

    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")) == [
        "a/1.png",
        "b/1.png",
        "c/upload.dat.png",
    ]
    drawn = read_image(tmp_path / "a" / "1.png")
    assert drawn.shape == (40, 60, 3)
    assert drawn.any()
    assert not read_image(tmp_path / "b" / "1.png").any()


def test_a_webp_too_large_to_encode_becomes_a_png(tmp_path: Path) -> None:
    with ImageWriter(tmp_path) as writer:
        for width in (4095, 4096):
            writer.add(replace(frame(f"{width}.webp"), image=np.zeros((4096, width, 3), np.uint8)), NONE)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["4095.webp", "4096.webp.png"]


@pytest.mark.parametrize("name", ["a" * 255, "é" * 120 + ".heic", "b" * 251 + ".png", "c" * 253 + "#2.png"])
def test_names_of_any_length_are_written(tmp_path: Path, name: str) -> None:
    """The last name is that of a TIFF's page; the name of the TIFF itself just fits."""
    other = name[:210] + "other" + name[215:]
    with ImageWriter(tmp_path) as writer:
        writer.add(frame(name), NONE)
        writer.add(frame(other), NONE)

    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("stem", ["a" * 246, "a" * 251, "é" * 123])
def test_geojson_of_a_long_name_is_written(tmp_path: Path, stem: str) -> None:
    source = write_tiff(tmp_path / f"{stem}.tif", (64, 64), tile=64, tags=geotiff_tags(1, (0, 0)))
    with GeoJsonWriter(tmp_path / "maps") as writer:
        writer.add(Frame(np.zeros((64, 64, 3), np.uint8), str(source), Path(source.name), source), NONE)

    (written,) = (tmp_path / "maps").iterdir()
    assert written.suffix == ".geojson"
    assert json.loads(written.read_text())["name"] == stem


def test_annotated_videos_keep_size_rate_and_length(tmp_path: Path) -> None:
    clips = [("one.avi", 5, 10.0), ("one.webm", 3, 30.0)]
    with ImageWriter(tmp_path) as writer:
        for name, frames, rate in clips:
            for number in range(frames):
                writer.add(frame(name, Moment(number, number / rate, rate)), two())
            writer.add(frame(f"{name}.png"), NONE)

    for name, frames, rate in clips:
        written = list(read_frames(tmp_path / (name if name.endswith(".webm") else f"{name}.webm")))
        assert len(written) == frames
        assert written[0][0].shape == (40, 60, 3)
        assert written[0][0].any()
        assert written[0][1].rate == rate


def test_a_source_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "1.png"
    write_image(path, np.zeros((40, 60, 3), np.uint8))
    before = path.read_bytes()
    (only,) = Sources([path])

    with (
        ImageWriter(tmp_path) as writer,
        pytest.raises(ConfigError, match=r"1\.png: the annotated image would replace its source"),
    ):
        writer.add(only, two())
    assert path.read_bytes() == before


def test_a_whole_stopped_video_is_playable(tmp_path: Path) -> None:
    def stopped() -> None:
        with ImageWriter(tmp_path) as writer:
            for number in range(4):
                writer.add(frame("clip.mp4", Moment(number, number / 25, 25.0)), two())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()

    capture = cv2.VideoCapture(str(tmp_path / "clip.mp4.webm"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    capture.release()
    assert [entry.name for entry in tmp_path.iterdir()] == ["clip.mp4.webm"]


def test_json_records_the_run_if_given(tmp_path: Path) -> None:
    with JsonWriter(tmp_path / "a.json", NAMES, {"conf": 0.25}) as writer:
        writer.add(frame(), NONE)
    with JsonWriter(tmp_path / "b.json", NAMES) as writer:
        writer.add(frame(), NONE)
    assert json.loads((tmp_path / "a.json").read_text())["run"] == {"conf": 0.25}
    assert "run" not in json.loads((tmp_path / "b.json").read_text())


def test_text_is_written_unescaped(tmp_path: Path) -> None:
    with JsonWriter(tmp_path / "a.json", ("Würfel",)) as writer:
        writer.add(frame("ü.mp4", Moment(7, 1.23456, 25.0)), NONE)
    with CsvWriter(tmp_path / "a.csv") as table:
        table.add(frame("ü.png"), two())
    text = (tmp_path / "a.json").read_bytes().decode()
    assert '"Würfel"' in text
    assert '"ü.mp4"' in text
    assert json.loads(text)["images"][0]["seconds"] == 1.235
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()


def test_coco_scores_are_rounded(tmp_path: Path) -> None:
    boxes = np.array([[1, 2, 3, 4]], np.float32)
    with CocoWriter(tmp_path / "a.json", [7]) as writer:
        writer.add(frame("12.png"), Detections(boxes, np.array([0.123456789]), np.array([0]), NAMES))
    (entry,) = json.loads((tmp_path / "a.json").read_text())
    assert entry["score"] == 0.123457


def test_formulas_are_escaped_for_spreadsheets(tmp_path: Path) -> None:
    names = ("=1+1", "+cat", "-dog", "@cmd", "\t=x", "dog-like", "", "a=b")
    with CsvWriter(tmp_path / "a.csv") as table:
        for label in range(len(names)):
            boxes, score = np.array([[1, 2, 3, 4]], np.float32), np.array([0.5], np.float32)
            table.add(frame("=HYPERLINK(1).png"), Detections(boxes, score, np.array([label]), names))
        table.add(frame("-"), NONE)
    with (tmp_path / "a.csv").open(newline="") as stream:
        _, *rows = csv.reader(stream)
    assert {row[0] for row in rows[:-1]} == {"'=HYPERLINK(1).png"}
    assert [row[2] for row in rows[:-1]] == [
        "'=1+1",
        "'+cat",
        "'-dog",
        "'@cmd",
        "'\t=x",
        "dog-like",
        "",
        "a=b",
    ]


def test_json_holds_the_threshold_of_each_class(tmp_path: Path) -> None:
    with JsonWriter(tmp_path / "a.json", NAMES, thresholds=(0.25, 0.4)) as writer:
        writer.add(frame(), NONE)

    assert json.loads((tmp_path / "a.json").read_text())["thresholds"] == {NAMES[0]: 0.25, NAMES[1]: 0.4}


@pytest.mark.parametrize("make", TEXT_WRITERS[:3])
def test_a_file_name_that_is_not_unicode_is_written_escaped(
    make: Callable[[Path], Writer], tmp_path: Path
) -> None:
    with make(tmp_path / "results") as writer:
        writer.add(frame("b\udcfcr.png"), two())

    assert "b\\udcfcr.png" in (tmp_path / "results").read_text(encoding="utf-8")


def test_tables_have_unix_line_ends_and_a_cell_per_column(tmp_path: Path) -> None:
    with CsvWriter(tmp_path / "a.csv") as boxes, CountsWriter(tmp_path / "b.csv", NAMES) as counts:
        for writer in (boxes, counts):
            writer.add(frame("-"), NONE)

    assert (tmp_path / "a.csv").read_bytes().splitlines(keepends=True)[1:] == [b"-,,,,,,,\n"]
    assert (tmp_path / "b.csv").read_bytes().splitlines(keepends=True)[1:] == [
        b"-,,0,0,0\n",
        b"total,,0,0,0\n",
    ]


def test_an_annotated_image_leaves_its_source_unchanged(tmp_path: Path) -> None:
    source = tmp_path / "one.png"
    write_image(source, np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "out").mkdir()

    with ImageWriter(tmp_path / "out") as writer:
        writer.add(replace(frame("one.png"), path=source), two())

    assert not read_image(source).any()
    assert read_image(tmp_path / "out" / "one.png").any()


@pytest.mark.parametrize("make", [*TEXT_WRITERS, ImageWriter])
def test_an_abandoned_writer_leaves_the_earlier_file(make: Callable[[Path], Writer], tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_text("earlier")

    writer = make(path)
    assert writer.path == path
    writer.abandon()

    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("thresholds", [(0.25,), (0.25, 0.4, 0.5)])
def test_json_needs_one_threshold_per_class(tmp_path: Path, thresholds: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is (shorter|longer)"):
        JsonWriter(tmp_path / "a.json", NAMES, thresholds=thresholds)


def test_a_large_image_is_annotated_on_a_small_copy(tmp_path: Path) -> None:
    """Sides above 4,096 pixels are reduced: 8,193 columns by the factor 3, so 64 rows become 22."""
    tiff = write_tiff(tmp_path / "a.tif", (64, 8193), [((0, 0, 99, 64), (0, 0, 90))])
    large = Frame(LargeImage(tiff), "a.tif", Path("a.tif"), tiff)
    box = np.array([[3000, 32, 6000, 48]], np.float32)
    found = Detections(box, np.array([0.9], np.float32), np.array([0]), NAMES)

    with ImageWriter(tmp_path / "out") as writer:
        writer.add(large, found)

    pixels = np.zeros((22, 2731, 3), np.uint8)
    pixels[:, :33] = (0, 0, 90)
    smaller = replace(found, boxes=np.array([[1000, 11, 2000, 16.5]], np.float32))
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "a.tif"), annotate(pixels, smaller))


def test_an_image_is_annotated_without_a_second_copy_of_its_pixels(tmp_path: Path) -> None:
    large = replace(frame(), image=np.zeros((1000, 2000, 3), np.uint8))
    with ImageWriter(tmp_path) as writer:
        writer.add(frame("warm.png"), two())
        tracemalloc.start()
        try:
            writer.add(large, two())
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert most < large.image.nbytes / 2


@pytest.mark.parametrize("is_stopped", [False, True])
def test_sound_is_kept_to_the_end_unless_the_run_is_stopped(tmp_path: Path, is_stopped: bool) -> None:
    pytest.importorskip("av")
    from tests.runtime.test_timed_clips import TIMES, sound_of, write_source

    source = write_source(tmp_path / "a.mp4")  # 2 s of sound, longer than the frames
    writer = ImageWriter(tmp_path / "out")
    for each in list(Sources([source]))[:5]:
        writer.add(each, NONE)
    if is_stopped:
        writer.close(complete=False)
    else:
        writer.add(frame("next.png"), NONE)

    length = sound_of(tmp_path / "out" / "a.mp4.webm")[2]
    assert length < TIMES[5] if is_stopped else length == pytest.approx(2, abs=0.1)
