"""Plans: the fastest way to run a model on this CPU, as measured by `lookonce tune`.

```
   <cache>/plans/<size and hash of the model>/<hash of the CPU>/
       plan.json    every way, with its times and AP
       1/           files that some ways run instead of the model: float32.onnx, int8.onnx, int8.xml, ...
       2/           those of the next measurement, until it is complete and plan.json names this folder
```

A plan is used only on the same CPU with the same package versions; otherwise it is ignored with a warning.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

from lookonce._cache import cache_folder
from lookonce._counted import counted
from lookonce._files import open_input, read_text, write_text
from lookonce.errors import ConfigError, LookonceError, ModelFileError
from lookonce.metadata import WEIGHTS_BESIDE
from lookonce.runtime.backends import Arithmetic
from lookonce.runtime.cpu import Cpu, this_cpu

FORMAT = 1
PLAN = "plan.json"
PLAN_LIMIT = 1 << 20  # bytes
ENGINE_PACKAGES = ("lookonce", "onnxruntime", "onnxruntime-gpu", "openvino", "torch", "ncnn")
REST_IN_BFLOAT16 = "int8+bfloat16"  # an int8 file whose float layers are computed in bfloat16


@dataclass(frozen=True, slots=True)
class Way:
    """One way to run a model, as measured.

    Attributes:
        backend: a name in `backends.ENGINES`.
        precision: `float32`, `bfloat16`, `int8` or `REST_IN_BFLOAT16`.
        threads: engine threads per image.
        calls: number of images processed at the same time, each on its own threads.
        file: name of a file beside the plan; empty for the model itself.
        milliseconds: time per image from pixels to detections, the smallest median of several rounds; None
            if it was not measured.
        ap: AP on the data; None if it was not measured.
        agreement: share of detections in common with float32; None if it was not measured.
        rejected: reason why this way must not be used; empty if it may be used.
    """

    backend: str
    precision: str
    threads: int
    calls: int
    file: str
    milliseconds: float | None = None
    ap: float | None = None
    agreement: float | None = None
    rejected: str = ""

    def __str__(self) -> str:
        return f"{self.backend}, {self.precision}, {counted(self.threads, 'thread')}"

    @property
    def recipe(self) -> tuple[str, str, str]:
        """Return the engine, precision and file, which determine the detections."""
        return self.backend, self.precision, self.file

    @property
    def arithmetic(self) -> Arithmetic:
        """Return the precision of the float layers."""
        return "bfloat16" if self.precision.endswith("bfloat16") else "float32"


@dataclass(frozen=True, slots=True)
class SpeedPlan:
    """All ways to run one model on one CPU.

    Attributes:
        cpu: CPU on which the ways were measured.
        versions: versions of `ENGINE_PACKAGES`, by name.
        data: data on which AP was measured.
        max_drop: largest accepted loss of AP.
        ways: measured ways, including rejected ones.
        folder: folder of the plan.
        files: name of the folder in it with the files of the ways; empty if they are beside the plan.
    """

    cpu: Cpu
    versions: dict[str, str]
    data: str
    max_drop: float
    ways: tuple[Way, ...]
    folder: Path
    files: str = ""

    @property
    def timed(self) -> list[Way]:
        """Return the ways that were timed and not rejected."""
        return [way for way in self.ways if not way.rejected and way.milliseconds is not None]

    @staticmethod
    def milliseconds(way: Way) -> float:
        """Return the time of a way that was timed, in milliseconds per image."""
        assert way.milliseconds is not None
        return way.milliseconds

    def best(self, threads: int | None = None, precision: str = "auto") -> Way | None:
        """Return the fastest accepted way; None if there is none.

        Args:
            threads: threads per image. None, or as many as cores, for the shortest time of a single image;
                fewer for the highest rate with several images at the same time, or if that was not measured,
                with one image at a time.
            precision: `int8` for int8 ways only, `auto` for all.
        """
        one = threads is None or threads >= self.cpu.cores
        ways = [way for way in self.timed if precision == "auto" or way.precision.startswith(precision)]
        if one:
            wanted = [way for way in ways if way.calls == 1]
        else:
            alike = [way for way in ways if way.threads == threads]
            wanted = [way for way in alike if way.calls > 1] or alike
        return min(wanted or ways, key=self.milliseconds, default=None)

    def write(self) -> None:
        """Write the plan as `PLAN` into its folder."""
        tree: dict[str, Any] = {"format": FORMAT, **asdict(self)}
        del tree["folder"]
        tree["latency"], tree["throughput"] = (
            None if (way := self.best(threads)) is None else asdict(way) for threads in (None, 1)
        )
        write_text(self.folder / PLAN, json.dumps(tree, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read `PLAN` from a folder.

        Raises:
            ConfigError: the plan is missing or damaged, or has another format.
        """
        path = folder / PLAN
        try:
            tree = json.loads(read_text(path, ConfigError, limit=PLAN_LIMIT))
            if tree["format"] != FORMAT:
                raise ValueError(f"format {tree['format']!r}")
            about = tree["cpu"]
            sets = about["instructions"]
            cpu = Cpu(
                str(about["name"]), None if sets is None else tuple(map(str, sets)), int(about["cores"])
            )
            ways = tuple(Way(**way) for way in tree["ways"])
            if any(Path(way.file).name != way.file for way in ways):
                raise ValueError("a file outside its folder")
            files = tree.get("files", "")
            if files and not files.isdecimal():
                raise ValueError(f"files in {files!r}")
            return cls(cpu, dict(tree["versions"]), tree["data"], tree["max_drop"], ways, folder, files)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ConfigError(f"{path}: expected a plan that `lookonce tune` wrote: {error}") from error


@dataclass(frozen=True, slots=True)
class ModelKey:
    """The name under which a model's plans are stored: the size of its files, and a hash of their content.

    Attributes:
        files: model file, and the weights beside an `.xml` or `.param`.
        size: total size of the files, in bytes.
    """

    files: tuple[Path, ...]
    size: int

    @classmethod
    def of(cls, model: Path) -> Self:
        """Find the files of a model."""
        beside = WEIGHTS_BESIDE.get(model.suffix.lower())
        weights = model.with_suffix(beside or ".bin")
        with_weights = beside is not None and weights.exists()
        files = (model, weights) if with_weights else (model,)
        return cls(files, sum(path.stat().st_size for path in files))

    def name(self) -> str:
        """Return the name, which requires reading all files."""
        content = hashlib.sha256()
        for path in self.files:
            with open_input(path, ModelFileError) as stream:
                content.update(hashlib.file_digest(stream, "sha256").digest())
        return f"{self.size}-{content.hexdigest()[:24]}"


def plan_folder(model: Path, root: Path | None = None) -> Path:
    """Return the folder of a model's plan for this CPU, below `root` or, if that is None, in the cache."""
    return (root or cache_folder()) / "plans" / ModelKey.of(model).name() / this_cpu().key


def find_plan(model: Path, name: str) -> SpeedPlan | None:
    """Return the plan for a model on this machine, or None if there is no valid one.

    A plan that is damaged or was made on another CPU or with other versions is ignored with a warning; `name`
    is the name of the model in it.
    """
    try:
        key, plans = ModelKey.of(model), cache_folder() / "plans"
        alike = {folder.name for folder in plans.glob(f"{key.size}-*")}
    except LookonceError:  # no home folder, so nothing was tuned
        return None
    if not alike or (name_of_content := key.name()) not in alike:
        return None  # the name requires reading the whole model, so the size is compared first
    folder = plans / name_of_content
    own = folder / this_cpu().key
    if not (own / PLAN).exists():
        others = sorted(folder.glob(f"*/{PLAN}"))
        if others:
            _warn(name, f"tuned on a different CPU, so the plan is not used; found {this_cpu()}")
        return None
    try:
        plan = SpeedPlan.read(own)
    except ConfigError as error:
        _warn(name, f"{error}; not used")
        return None
    if plan.versions != engine_versions():
        changed = [
            f"{name} {plan.versions.get(name, 'absent')}, here {engine_versions().get(name, 'absent')}"
            for name in ENGINE_PACKAGES
            if plan.versions.get(name) != engine_versions().get(name)
        ]
        _warn(name, f"tuned with other versions, so not used: {'; '.join(changed)}")
        return None
    return plan


def tuned_way(model: Path, name: str, threads: int | None, precision: str) -> tuple[Path, Way] | None:
    """Return the file to open for a model, and the way to run it; None if no plan has such a way."""
    plan = find_plan(model, name)
    way = None if plan is None else plan.best(threads, precision)
    if plan is None or way is None:
        return None
    path = plan.folder / plan.files / way.file if way.file else model
    if not path.exists():
        _warn(name, f"its plan's {path} is missing, so the plan is not used")
        return None
    reference = next((each.ap for each in plan.ways if each.precision == "float32"), None)
    aps = "" if way.ap is None or reference is None else f", AP {way.ap:.4f} (float32 {reference:.4f})"
    _warn(name, f"runs as tuned for this machine: {way}{aps}; precision float32 turns it off")
    return path, way


@cache
def engine_versions() -> dict[str, str]:
    """Return the versions of those of `ENGINE_PACKAGES` that are installed."""
    from importlib.metadata import PackageNotFoundError, version  # slow to import, and needed only for a plan

    found = {}
    for name in ENGINE_PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@cache
def _warn(name: str, text: str) -> None:
    """Log a message about a model, once per process."""
    from logging import getLogger

    getLogger(__name__).warning("%s: %s", name, text)
