"""Input and decoding: the record, compared with the decoding of the model and of the reference."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lookonce.explain import Explainer
from lookonce.explain.heads import cell, cell_grid, fit_in, grid_text
from lookonce.explain.records import Explanation, ScaleOutput
from lookonce.geometry.anchors import YOLOV3
from lookonce.geometry.boxes import cxcywh_to_xyxy
from lookonce.geometry.decode import sigmoid
from lookonce.geometry.letterbox import Letterbox
from lookonce.images import read_image
from lookonce.model.decode import decode_scale


@pytest.fixture(scope="module")
def explained(tiny: Explainer) -> Explanation:
    return tiny(np.random.default_rng(5).integers(0, 256, (70, 150, 3), np.uint8))


def test_the_arithmetic_of_the_letterbox_is_written_out() -> None:
    entry = fit_in(np.zeros((375, 500, 3), np.uint8), (416, 320), "letterbox", Path("a/b.jpg"))

    assert (entry.source, entry.target, entry.resized) == ((375, 500), (416, 320), (240, 320))
    assert entry.pads == (0, 88, 0, 88)
    assert entry.scale == (0.64, 0.64)
    assert entry.arithmetic == (
        "scale that fits: min(320 / 500, 416 / 375) = min(0.6400, 1.1093) = 0.6400",
        "resized: 500 x 375 -> 320 x 240 whole pixels",
        "true scale: 320 / 500 = 0.6400 across, 240 / 375 = 0.6400 down",
        "left = (320 - 320) // 2 = 0, right = 0; top = (416 - 240) // 2 = 88, bottom = 88",
        "in the input: x * 0.6400 + 0, y * 0.6400 + 88",
    )
    np.testing.assert_array_equal(entry.pixels, entry.letterbox.image(entry.image))


def test_a_stretched_image_has_no_padding() -> None:
    entry = fit_in(np.zeros((100, 200, 3), np.uint8), (64, 96), "stretch", None)

    assert (entry.file, entry.pads, entry.scale) == ("", (0, 0, 0, 0), (0.64, 0.48))


def test_an_odd_pixel_of_padding_goes_right_and_below() -> None:
    entry = fit_in(np.zeros((33, 64, 3), np.uint8), (64, 64), "letterbox", None)

    assert entry.pads == (0, 15, 0, 16)


def test_scales_equal_the_decoding_of_the_model(explained: Explanation) -> None:
    assert [(scale.stride, scale.grid) for scale in explained.scales] == [(16, (6, 8)), (32, (3, 4))]
    assert [scale.first for scale in explained.scales] == [0, 6 * 8 * 3]
    for scale in explained.scales:
        assert scale.raw.shape == (*scale.grid, 3, 8)
        rows, columns = scale.grid
        raw_map = torch.from_numpy(scale.raw.reshape(rows, columns, -1)).permute(2, 0, 1)[None]
        expected = decode_scale(raw_map, scale.anchors, scale.stride)[0].numpy()
        np.testing.assert_allclose(scale.boxes, expected[..., :4], rtol=1e-5, atol=1e-4)
        np.testing.assert_allclose(scale.objectness, expected[..., 4], atol=1e-6)
        np.testing.assert_allclose(scale.probabilities, expected[..., 5:], atol=1e-6)


def positions(found: Explanation, count: int) -> list[tuple[int, int, int, int]]:
    rng = np.random.default_rng(0)
    chosen = []
    for number, scale in enumerate(found.scales):
        for _ in range(count):
            row, column, anchor = (int(rng.integers(n)) for n in scale.objectness.shape)
            chosen.append((number, row, column, anchor))
    return chosen


@pytest.mark.parametrize("model", ["tiny", "nano"])
def test_a_cell_equals_the_graph(model: str, request: pytest.FixtureRequest, data: Path) -> None:
    found = request.getfixturevalue(model)(data / "photos" / "dog.jpg")
    for position in positions(found, 40):
        scale, at = found.scales[position[0]], cell(found.scales, found.input.letterbox, position)
        np.testing.assert_allclose(at.box, scale.boxes[position[1:]], rtol=1e-5, atol=2e-4)
        np.testing.assert_allclose(at.probabilities, scale.probabilities[position[1:]], atol=1e-6)
        assert at.objectness == pytest.approx(scale.objectness[position[1:]], abs=1e-6)
        assert at.score == pytest.approx(at.objectness * max(at.probabilities), abs=1e-6)
        assert at.label == scale.probabilities[position[1:]].argmax()
    for at_candidate in (0, len(found.candidates) // 2, len(found.candidates) - 1):
        position = tuple(found.candidates.positions[at_candidate].tolist())
        at = cell(found.scales, found.input.letterbox, position)
        np.testing.assert_allclose(at.image_box, found.candidates.boxes[at_candidate], atol=1e-2)
        assert at.score == pytest.approx(found.candidates.scores[at_candidate], abs=1e-6)
        assert at.label == found.candidates.labels[at_candidate]


def test_cells_equal_the_reference(reference: Path) -> None:
    stored = np.load(reference / "decode.npz")
    for number in range(3):
        logits, expected = stored[f"logits0_{number}"][0], stored[f"out0_{number}"][0]
        rows, columns, anchors, width = expected.shape
        raw = logits.reshape(rows, columns, anchors, width)
        scale = ScaleOutput(
            8 * 2**number,
            0,
            (rows, columns),
            YOLOV3[number],
            1.0,
            "yolo",
            raw,
            raw[..., :4],
            raw[..., 4],
            raw[..., 5:],
            0,
        )
        letterbox = Letterbox.fit((96, 96), (96, 96))
        for row, column, anchor in np.ndindex(rows, columns, anchors):
            at = cell((scale,), letterbox, (0, row, column, anchor))
            box = cxcywh_to_xyxy(expected[row, column, anchor, :4])
            np.testing.assert_allclose(at.box, box, rtol=1e-5, atol=1e-4)
            np.testing.assert_allclose(
                (at.objectness, *at.probabilities), expected[row, column, anchor, 4:], atol=1e-6
            )


def test_formulas_hold_their_numbers(nano: Explainer, data: Path) -> None:
    found = nano(data / "photos" / "dog.jpg")
    best = tuple(found.candidates.positions[found.nms.kept[0]].tolist())
    at = cell(found.scales, found.input.letterbox, best)

    assert found.info.names[at.label] == "dog"
    assert at.formulas[0].startswith(f"x = ({best[2]} + σ({at.raw[0]:.4f}) * 1.1 - 0.05) * 32 = (")
    assert at.formulas[0].endswith(f"= {at.center[0]:.2f}")
    assert at.formulas[2] == f"w = {at.anchor[0]:g} * exp({at.raw[2]:.4f}) = {at.sides[0]:.2f}"
    assert at.formulas[-1].endswith(f"= {at.score:.4f}")
    for formula in at.formulas[2:4]:  # the numbers shown give the result shown
        left, _, right = formula.partition(" = ")[2].partition(" = ")
        assert eval(left, {"exp": np.exp}) == pytest.approx(float(right), rel=1e-3)


def test_the_grid_of_cells_counts_columns_then_rows() -> None:
    grid = cell_grid(2, 3)

    assert grid.shape == (2, 3, 2)
    assert grid[..., 0].tolist() == [[0, 1, 2], [0, 1, 2]]
    assert grid[..., 1].tolist() == [[0, 0, 0], [1, 1, 1]]
    assert grid_text(2, 3) == ("[0 0 0]   [0 1 2]", "[1 1 1]   [0 1 2]")
    assert grid_text(11, 1)[-1] == "[10]   [ 0]"


def test_a_cell_outside_the_grid_is_an_error(explained: Explanation) -> None:
    for position in ((2, 0, 0, 0), (0, 6, 0, 0), (0, 0, -1, 0)):
        with pytest.raises(IndexError):
            cell(explained.scales, explained.input.letterbox, position)


def test_sigmoid_handles_extremes() -> None:
    found = sigmoid(np.array([-1e4, -1, 0, 1, 1e4], np.float32))

    np.testing.assert_allclose(found, [0, 0.26894143, 0.5, 0.7310586, 1], rtol=1e-6)


def test_pixels_and_file_give_the_same_candidates(nano: Explainer, data: Path) -> None:
    path = data / "photos" / "person.jpg"
    by_file, by_pixels = nano(path), nano(read_image(path))

    assert (by_file.input.file, by_pixels.input.file) == (str(path), "")
    np.testing.assert_array_equal(by_file.candidates.scores, by_pixels.candidates.scores)
