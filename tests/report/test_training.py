"""The training record of a model, from its description and its run folder."""

from dataclasses import replace
from pathlib import Path

from lookonce.report.training import training_record
from tests.data.drawn_samples import INFO

LOG = "epoch,total_loss,ap,ap50,minutes\n1,40.5,,,1.5\n2,30.25,0.25,0.5,3\n"
TRAINED = replace(
    INFO, training={"epoch": 2, "data": {"images": 9, "boxes": 20, "validation": 1, "digest": "ab"}}
)


def test_a_model_without_a_record_has_none(tmp_path: Path) -> None:
    assert training_record(tmp_path / "a.onnx", INFO) is None


def test_a_run_folder_adds_settings_and_epochs(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("epochs: 2\nbatch: 8\n")
    (tmp_path / "epochs.csv").write_text(LOG)

    record = training_record(tmp_path / "best.safetensors", TRAINED)

    assert record is not None
    assert record["settings"] == {"epochs": 2, "batch": 8}
    assert record["data"] == {"images": 9, "boxes": 20, "validation": 1}
    assert record["epochs"] == [
        {"epoch": 1, "total_loss": 40.5, "minutes": 1.5},
        {"epoch": 2, "total_loss": 30.25, "ap": 0.25, "ap50": 0.5, "minutes": 3},
    ]
    assert record["finished"].startswith("20")


def test_without_a_readable_log_the_description_is_used(tmp_path: Path) -> None:
    for content in (None, "epoch,total_loss\n1,much\n"):
        if content:
            (tmp_path / "settings.yaml").write_text("epochs: 2\n")
            (tmp_path / "epochs.csv").write_text(content)
        record = training_record(tmp_path / "best.safetensors", TRAINED)
        assert record is not None
        assert (record["epoch"], record["epochs"]) == (2, [])
