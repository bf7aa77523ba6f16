"""Coverage-guided fuzzing of the `.cfg` parser and the readers of weights and names; not part of the tests.

    python -m venv fuzz && fuzz/bin/pip install atheris numpy onnx array-api-compat
    PYTHONPATH=src fuzz/bin/python tests/darknet/fuzz_atheris.py CORPUS -max_total_time=600 -max_len=16384

CORPUS is a folder of inputs: a letter and a file, `c` and a `.cfg`, `w` and a `.weights`, `n` and a `.names`.
Anything but a `LookonceError` is a finding.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris

with atheris.instrument_imports(include=["lookonce"]):
    from lookonce.darknet.cfg import read_cfg
    from lookonce.darknet.classic import recognise
    from lookonce.darknet.names import find_names
    from lookonce.darknet.network import ConvSpec, resolve
    from lookonce.darknet.weights import check_weights, read_weights
    from lookonce.errors import LookonceError

SPECS = [ConvSpec(0, 3, 3, 2, 1, 1, True), ConvSpec(1, 9, 2, 3, 1, 1, False)]


def run(content: bytes, folder: Path) -> None:
    file, kind, body = folder / "x.cfg", content[:1], content[1:]
    file.write_bytes(body)
    try:
        match kind:
            case b"w" | b"p":
                check_weights(file, SPECS, read_weights(file, SPECS, partial=kind == b"p")[1])
            case b"n":
                (folder / "x.data").write_bytes(body)
                find_names(file, 2)
            case _:
                network = resolve(read_cfg(file))
                if network.scales:
                    recognise(network)
    except LookonceError:
        pass


def main() -> None:
    with TemporaryDirectory(dir="/dev/shm") as folder:
        atheris.Setup(sys.argv, lambda content: run(content, Path(folder)))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
