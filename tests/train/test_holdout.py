"""Test which images are held out, and which stay together."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.doctor.images import inspect_all
from lookonce.samples import Sample
from lookonce.train.holdout import by_lot, folds, groups_of, hold_out, hold_out_again


def sample(path: Path) -> Sample:
    return Sample(path, np.zeros((0, 4), np.float32), np.zeros(0, np.int64))


def named(count: int) -> list[Sample]:
    return [sample(Path(f"{chr(97 + i)}.png")) for i in range(count)]


def scene(rng: np.random.Generator) -> np.ndarray:
    """Draw gray blobs: (96, 128, 3)."""
    coarse = rng.integers(40, 215, (6, 8), np.uint8)
    return cv2.cvtColor(cv2.resize(coarse, (128, 96), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2RGB)


def film(folder: Path, name: str, frames: int, rng: np.random.Generator, step: float = 3.0) -> list[Sample]:
    """Pan over a wide scene, so that frames look like their neighbors but not like distant frames."""
    width = int(128 + step * frames) + 8
    coarse = rng.integers(40, 215, (6, max(8, width // 16)), np.uint8)
    wide = cv2.cvtColor(cv2.resize(coarse, (width, 96), interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    samples = []
    for i in range(frames):
        left = round(step * i)
        frame = wide[:, left : left + 128].copy()
        if step:
            cv2.circle(frame, (20 + 2 * i % 90, 50), 6, (255, 255, 255), -1)
        path = folder / f"{name}_{i}.png"  # no leading zeros: frame 10 follows frame 9
        cv2.imwrite(str(path), frame)
        samples.append(sample(path))
    return samples


def facts_of(samples: list[Sample]) -> dict:
    return inspect_all([each.path for each in samples], lambda: None)


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (0.25, 2), (0.99, 7)])
def test_every_image_is_in_one_part(share: float, expected: int) -> None:
    split = hold_out(named(8), share, 3, {})
    assert len(split.held_out) == expected
    assert sorted(split.train + split.held_out) == list(range(8))
    assert (split.left_out, split.together) == ([], 0)


def test_removing_an_image_moves_at_most_one_other() -> None:
    samples = named(20)
    learned = {samples[i].path for i in hold_out(samples, 0.25, 3, {}).train}
    for number in range(20):
        fewer = samples[:number] + samples[number + 1 :]
        held_out = {fewer[i].path for i in hold_out(fewer, 0.25, 3, {}).held_out}
        assert len(learned & held_out) <= 1
    assert hold_out(samples, 0.25, 4, {}) != hold_out(samples, 0.25, 3, {})


def leaks(samples: list[Sample], train: list[int], held_out: list[int], reach: int = 2) -> int:
    """Return the held-out frames with a training frame at most `reach` frames away in the same film."""
    place = [each.path.stem.rsplit("_", 1) for each in samples]
    learned = {(place[i][0], int(place[i][1])) for i in train}
    return sum(
        any((place[i][0], int(place[i][1]) + d) in learned for d in range(-reach, reach + 1))
        for i in held_out
    )


@pytest.mark.parametrize("seed", range(3))
def test_frames_of_a_video_do_not_leak(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    samples = [each for k in range(6) for each in film(tmp_path, f"film{k}", 20, rng)]
    random = hold_out(samples, 0.2, seed, {})
    assert leaks(samples, random.train, random.held_out) > 15  # without comparing the images
    split = hold_out(samples, 0.2, seed, facts_of(samples))
    assert leaks(samples, split.train, split.held_out) == 0
    assert len(split.held_out) == 20
    assert split.together == 120


def test_of_a_single_video_the_last_frames_are_held_out(tmp_path: Path) -> None:
    samples = film(tmp_path, "film", 60, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    shuffled = [samples[i] for i in rng.permutation(60)]
    split = hold_out(shuffled, 0.2, 0, facts_of(samples))
    numbers = [int(each.path.stem.split("_")[1]) for each in shuffled]
    assert sorted(numbers[i] for i in split.held_out) == list(range(48, 60))
    assert split.left_out
    assert max(numbers[i] for i in split.train) < min(numbers[i] for i in split.left_out)
    assert len(split.train) > 30
    assert "look like both sides" in split.describe()


def test_a_fixed_camera_leaves_nothing_to_hold_out(tmp_path: Path) -> None:
    samples = film(tmp_path, "film", 20, np.random.default_rng(0), step=0)
    split = hold_out(samples, 0.2, 0, facts_of(samples))
    assert (len(split.train), split.held_out, split.left_out) == (20, [], [])
    assert "last model" in split.describe()


def test_copies_and_recompressed_images_stay_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(6):
        pixels = scene(rng)
        for name, quality in (("a", 95), ("b", 95), ("c", 40)):
            cv2.imwrite(
                str(tmp_path / f"{name}{'xyzuvw'[i]}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, quality]
            )
    samples = [sample(path) for path in sorted(tmp_path.iterdir())]
    roots = groups_of(samples, facts_of(samples))
    assert sorted(np.bincount(roots)[np.unique(roots)].tolist()) == [3] * 6
    for first in samples[:6]:
        alike = {roots[i] for i, each in enumerate(samples) if each.path.stem[1] == first.path.stem[1]}
        assert len(alike) == 1


def test_numbered_images_of_different_scenes_are_not_one_video(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(12):
        cv2.imwrite(str(tmp_path / f"image_{i:03}.png"), scene(rng))
    samples = [sample(path) for path in sorted(tmp_path.iterdir())]
    assert len(set(groups_of(samples, facts_of(samples)).tolist())) == 12


@pytest.mark.parametrize("group", ["folder", r"patient(\d+)", r"p[a-z]*\d+"])
def test_images_of_a_group_stay_together(group: str) -> None:
    samples = [sample(Path(f"patient{p}/patient{p} view {v}.png")) for v in range(5) for p in range(8)]
    split = hold_out(samples, 0.25, 1, {}, group)
    held_out = {samples[i].path.parent for i in split.held_out}
    assert len(split.held_out) == 10
    assert len(held_out) == 2
    assert not held_out & {samples[i].path.parent for i in split.train}


def test_a_group_larger_than_the_share_is_held_out_if_half_remains() -> None:
    samples = [sample(Path(f"{camera}/{i}.png")) for camera in ("a", "b", "c") for i in range(10)]
    assert len(hold_out(samples, 0.1, 0, {}, "folder").held_out) == 10


def test_held_out_images_stay_and_a_share_of_new_ones_is_added() -> None:
    samples = named(26)
    before = hold_out(samples[:16], 0.25, 3, {})
    learned, held_out = {*before.train}, {*before.held_out}

    split = hold_out_again(by_lot(samples, 3, {}, ""), samples, 0.25, {}, learned=learned, held_out=held_out)

    assert len(split.held_out) == 4 + 2  # a quarter of ten more is 2.5
    assert held_out < {*split.held_out}
    assert learned < {*split.train}
    assert sorted(split.train + split.held_out) == list(range(26))
    rest = samples[4:12]
    units = by_lot(rest, 3, {}, "")
    fewer = hold_out_again(units, rest, 0.25, {}, learned={*range(3, 8)}, held_out={0, 1, 2})
    assert (fewer.train, fewer.held_out) == ([3, 4, 5, 6, 7], [0, 1, 2])


def test_new_images_join_their_group(tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    mine, theirs, new = (film(tmp_path, name, 8, rng) for name in ("mine", "theirs", "new"))
    both = film(tmp_path, "both", 8, rng, step=1.0)
    samples = [*mine, *theirs, *both, *new]
    place = {each.path.name: i for i, each in enumerate(samples)}
    learned = {place[f"mine_{i}.png"] for i in range(5)} | {place["both_0.png"]}
    held_out = {place[f"theirs_{i}.png"] for i in range(5)} | {place["both_7.png"]}

    facts = facts_of(samples)
    units = by_lot(samples, 0, facts, "")
    split = hold_out_again(units, samples, 0.5, facts, learned=learned, held_out=held_out)

    train, val, left = (
        {samples[i].path.name for i in part} for part in (split.train, split.held_out, split.left_out)
    )
    assert train > {each.path.name for each in mine}
    assert val > {each.path.name for each in theirs}
    assert ("both_0.png" in train, "both_7.png" in val) == (True, True)
    assert "both_6.png" in left <= {f"both_{i}.png" for i in range(1, 7)}  # it looks like the frame after it
    assert not {each.path.name for each in new} & val  # all eight belong together: more than a half


def test_folds_hold_out_every_image_once_and_keep_groups(tmp_path: Path) -> None:
    samples = [sample(Path(f"{camera}/{i}.png")) for camera in "abcdefg" for i in range(4)]
    parts = folds(samples, 3, 0, {}, "folder")
    assert sorted(i for part in parts for i in part.held_out) == list(range(28))
    assert all(sorted(part.train + part.held_out) == list(range(28)) for part in parts)
    for part in parts:
        assert 8 <= len(part.held_out) <= 12
        assert not {samples[i].path.parent for i in part.held_out} & {
            samples[i].path.parent for i in part.train
        }
    assert len(folds(samples[:8], 5, 0, {}, "folder")) == 2  # only two groups
