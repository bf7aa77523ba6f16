"""Convert Darknet models to ONNX once, and cache the result under a hash of their files."""

import hashlib
import logging
import re
from pathlib import Path

from lookonce._cache import cache_folder, delete_unused, mark_used
from lookonce._files import open_input, replacing
from lookonce.darknet.described import fit_of
from lookonce.darknet.files import DarknetModel, open_darknet
from lookonce.errors import ModelFileError
from lookonce.networks import BUILT_IN_FOLDER

GRAPH_VERSION = 3  # to be increased whenever the same files give a different graph
CACHED = re.compile(r".*-[0-9a-f]{24}\.onnx")
log = logging.getLogger(__name__)


def cached_onnx(path: Path, weights: Path | None = None) -> Path:
    """Return the ONNX file of a Darknet model, and build it on first use.

    The file is in the folder `darknet` of `cache_folder`, and its name has a hash of `.cfg`, weights and
    class names, so a changed model gets a new file. Files not used for `_cache.KEPT_DAYS` days are deleted
    when another is built. Several processes may call this at the same time.

    Args:
        path: `.cfg` or `.weights`, as in `files.open_darknet`.
        weights: `.weights`; None for the file beside the `.cfg`.

    Raises:
        ModelFileError: a file is missing or damaged, does not match the others, or cannot be written to the
            cache.
    """
    model = open_darknet(path, weights)
    cfg = Path(model.network.cfg.file)
    digest = hashlib.sha256(f"{GRAPH_VERSION} {model.info.to_json()}".encode())
    for each in (cfg, model.weights):
        try:
            with open_input(each, ModelFileError) as opened:
                digest.update(hashlib.file_digest(opened, "sha256").digest())
        except OSError as error:
            raise ModelFileError(f"{each}: cannot be read: {error.strerror}") from error
    made = cache_folder() / "darknet" / f"{cfg.stem}-{digest.hexdigest()[:24]}.onnx"
    if made.exists():
        mark_used(made)
        return made
    import onnx  # slow to import, and only needed on first use

    from lookonce.darknet.onnx_graph import build_onnx

    graph = build_onnx(model.network, model.read_weights(), model.info)
    try:
        with replacing(made) as temporary:
            onnx.save(graph, temporary)
    except OSError as error:
        raise ModelFileError(
            f"{made}: cannot be written ({error.strerror}); set LOOKONCE_CACHE to a folder with room"
        ) from error
    delete_unused(made.parent, CACHED)
    say_once(model)
    return made


def say_once(model: DarknetModel) -> None:
    """Log guesses and ignored keys as warnings, except for the network in the package."""
    cfg = model.network.cfg
    if Path(cfg.file).parent == BUILT_IN_FOLDER:
        return
    if model.weights != Path(cfg.file).with_suffix(".weights"):
        log.warning("%s: weights from %s", cfg.file, model.weights)
    fit, reason = fit_of(model.network)
    log.warning("%s: images are fitted by %s: %s", cfg.file, fit, reason)
    if cfg.unknown:
        sections = "; ".join(f"[{kind}] {', '.join(keys)}" for kind, keys in cfg.unknown.items())
        log.warning("%s: unknown keys, ignored as Darknet does: %s", cfg.file, sections)
    if cfg.ignored:
        sections = "; ".join(f"[{kind}] {', '.join(keys)}" for kind, keys in cfg.ignored.items())
        log.warning("%s: for training or post-processing, not used here: %s", cfg.file, sections)
    if model.names is None:
        wanted = Path(cfg.file).with_suffix(".names").name
        log.warning("%s: no class names found, classes are numbered: expected %s beside it", cfg.file, wanted)
    else:
        log.warning("%s: class names from %s", cfg.file, model.names)
