"""Settings: their sources, and the messages about wrong ones."""

from pathlib import Path

import pytest

from lookonce.config import TrainSettings
from lookonce.errors import ConfigError
from lookonce.recipe import load_settings


def test_options_win_over_the_recipe_and_assignments_over_both(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("epochs: 5\nbatch: 4\nsize: 320x416\noptimizer: {rate: 0.01, momentum: 0.8}\n")
    settings = load_settings(recipe, ["optimizer.rate=2e-3", "batch=2"], epochs=7, batch=3, model=None)
    assert (settings.epochs, settings.batch, settings.size) == (7, 2, (320, 416))
    assert (settings.optimizer.rate, settings.optimizer.momentum) == (0.002, 0.8)


def test_a_section_changes_only_what_it_names(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("augment: {mosaic: 0}\n")
    expected = load_settings(None, ["augment.mosaic=0"])
    assert expected.augment.zoom == (0.6, 1.6)
    assert load_settings(recipe) == load_settings(None, ["augment={mosaic: 0}"]) == expected


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("optimiser.rate=1", "mine.yaml: optimiser: expected optimizer, found no such setting$"),
        ("optimizer.rate=-1", "optimizer.rate: expected greater than 0, found -1"),
        ("size=100", "multiples of 32, found 100; use 96 or 128$"),
        ("size=[320, 1.5, 3]", "multiples of 32"),
        ("epochs=many", "epochs: .*found 'many'"),
        ("epochs", "expected name=value"),
        ("epochs.x=1", "epochs is a value"),
        ("optimizer.end_rate=1", r"end_rate: expected at most optimizer.rate, 0.001, found 1$"),
        ("augment.zoom=2", r"augment.zoom: expected a list, such as \[0.6, 1.6\], found 2$"),
        ("optimizer=sgd", r"optimizer: expected a section with settings of its own, found 'sgd'$"),
        ("optimizer.rate=fast", r"optimizer.rate: expected a number, found 'fast'$"),
        ("epochs=many", r"epochs: expected a whole number, found 'many'$"),
        ("epochs=1.5", r"epochs: expected a whole number, found 1.5$"),
        ("sync_bn=perhaps", r"sync_bn: expected true or false, found 'perhaps'$"),
        ("augment.zoom=[2, 1]", r"augment: zoom: expected .*found \(2.0, 1.0\)$"),
        ("size=[416.7, 416]", "multiples of 32"),
        ("seed=99999999999999999999999", "seed: expected less than"),
        ("augment.multi_scale=0.9", "expected inputs of 64 or more, found 32x32"),
        ("size=32", "expected inputs of 64 or more, found 32x32"),
        ("loss.giou=.nan", "loss.giou"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, assignment: str, complaint: str) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("epochs: 5\n")
    with pytest.raises(ConfigError, match=complaint):
        load_settings(recipe, [assignment])


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("epochs: [", "not YAML.*line"),
        ("- 1\n- 2\n", "expected settings"),
        ("", "expected settings"),
        ("yes: 3", "expected names, found True"),
        ("batch: 4\nloss: {giou: 1}\nbatch: 8", "not YAML: 'batch' more than once.* line 3"),
        ("loss: {giou: 1, giou: 2}", "not YAML: 'giou' more than once.* line 1"),
        ("seed: 2022-99-99", "not YAML: month must be in 1..12"),
        ("seed: " + "9" * 5000, "not YAML: Exceeds the limit"),
        ("augment: " + "[" * 2000, "not YAML: maximum recursion depth exceeded"),
        ("batch: &a [x, x]\nseed: &b [*a, *a]\n", "not YAML: aliases are not read.* line 2"),
    ],
)
def test_an_unreadable_recipe_is_named(tmp_path: Path, content: str, complaint: str) -> None:
    recipe = tmp_path / "broken recipe.yaml"
    recipe.write_text(content)
    with pytest.raises(ConfigError, match=rf"broken recipe\.yaml: .*{complaint}"):
        load_settings(recipe)


def test_a_missing_recipe_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_settings(tmp_path / "nowhere.yaml")


def test_augment_false_switches_off_every_augmentation(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("augment: false\n")
    nothing = load_settings(recipe).augment
    assert nothing == load_settings(None, ["augment=false"]).augment == TrainSettings(augment=False).augment
    assert (nothing.flip, nothing.crop, nothing.translate, nothing.mosaic, nothing.mixup) == (0,) * 5
    assert (nothing.zoom, nothing.rectangles, nothing.hue) == ((1, 1), False, 0)
    assert load_settings(recipe, ["augment.flip=0.3"]).augment == nothing.model_copy(update={"flip": 0.3})


def test_own_anchors_are_a_list_per_scale() -> None:
    found = load_settings(None, ["anchors=[[[1, 2], [3, 4.5]], [[30, 40], [50, 60]]]"]).anchors
    assert found == (((1, 2), (3, 4.5)), ((30, 40), (50, 60)))
    assert load_settings(None, ["anchors=data"]).anchors == "data"


@pytest.mark.parametrize(
    ("assignment", "complaint"),
    [
        ("augment=true", "augment: expected a section with settings of its own, found True"),
        ("anchors=[[[1, 2]]]", r"anchors: expected 2 lists .* for yolov3-tiny, found 1$"),
        ("anchors=[[[1, 2]], [[3, 4], [5, 6]]]", r"anchors: expected 2 lists .*found 1 and 2$"),
        (
            "anchors=[[], []]",
            r"anchors: expected official, data, or a list .* per scale, found \[\[\], \[\]\]$",
        ),
        ("anchors=[[[1, 0]], [[3, 4]]]", "anchors: expected official, data, or a list"),
        ("anchors=mine", "anchors: expected official, data, or a list .* found 'mine'$"),
        ("anchors=[[[1, .nan]], [[3, 4]]]", "anchors: expected official, data, or a list"),
        ("anchors=3", "anchors: expected official, data, or a list .* found 3$"),
        ("freeze=-1", r"^freeze: expected nothing, backbone, a number of layers from 1, or a .* found -1$"),
        ("freeze=0", "^freeze: expected .* found 0$"),
        ("freeze=5.5", r"^freeze: expected .* found 5\.5$"),
        ("freeze=true", "^freeze: expected .* found True$"),
        ("freeze=", "^freeze: expected .* found None$"),
        ("batch_norm.momentum=0", "batch_norm.momentum: expected greater than 0"),
        ("keep_epochs=perhaps", "keep_epochs: expected true or false"),
        ("compile=true", "compile: expected one of .*no such setting"),
    ],
)
def test_a_wrong_value_is_named(assignment: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_settings(None, [assignment])
