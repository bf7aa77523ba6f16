"""The table of official files of `lookonce fetch`."""

from dataclasses import replace
from pathlib import Path

import pytest

from lookonce._texts import read_names
from lookonce.darknet.cfg import parse_cfg, read_cfg
from lookonce.darknet.classic import classic_cfg
from lookonce.darknet.described import describe
from lookonce.darknet.fetch import COCO_NAMES, PUBLISHED, REGISTRY, find, mirrors
from lookonce.darknet.resolve import resolve
from lookonce.errors import ConfigError
from lookonce.metadata import BN_EPSILON
from lookonce.networks import NETWORKS

DETECTORS = [name for name, published in REGISTRY.items() if published.info]
HEADER = 20  # bytes


@pytest.mark.parametrize("name", REGISTRY)
def test_file_sizes_match_the_networks(name: str) -> None:
    published = REGISTRY[name]
    info = published.info or REGISTRY["yolov3"].info
    assert info is not None
    convolutions = resolve(parse_cfg(classic_cfg(info), name)).convolutions
    if published.info is None:
        convolutions = convolutions[: NETWORKS["yolov3"].backbone]
    assert published.weights.size == HEADER + 4 * sum(each.numbers for each in convolutions)


@pytest.mark.parametrize("name", DETECTORS)
def test_networks_match_the_official_files(name: str, data: Path) -> None:
    info = REGISTRY[name].info
    assert info is not None
    official = describe(resolve(read_cfg(data / "darknet" / f"{name}.cfg")), COCO_NAMES)
    assert official == replace(info, bn_epsilon=BN_EPSILON)


def test_class_names_match_the_official_ones(data: Path) -> None:
    assert read_names(data / "darknet" / "coco.names") == COCO_NAMES


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        ConfigError, match="yolov9: expected one of yolov3, yolov3-spp, yolov3-tiny, darknet53"
    ):
        find("yolov9")


def test_a_mirror_in_the_environment_replaces_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOKONCE_MIRROR", raising=False)
    assert mirrors() == PUBLISHED
    monkeypatch.setenv("LOOKONCE_MIRROR", "https://files.example/weights")
    assert mirrors() == ("https://files.example/weights",)


@pytest.mark.parametrize("address", ["files.example", "ftp://files.example", "/mnt/weights"])
def test_a_mirror_without_a_supported_scheme_is_refused(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_MIRROR", address)
    with pytest.raises(ConfigError, match="LOOKONCE_MIRROR: expected https://"):
        mirrors()
