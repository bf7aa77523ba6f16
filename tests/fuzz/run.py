"""Coverage-guided fuzzing of every target with atheris (Linux): `python -m tests.fuzz.run --seconds 600`.

Time or runs are shared out evenly over the targets. Anything but a `LookonceError` is a finding: the input is
saved under `tests/fuzz/corpus/TARGET/` with a name that starts with `found-`, so that the test of the corpus
fails until it is fixed. Exit status 1 if anything was found.
"""

import argparse
import contextlib
import hashlib
import os
import re
import subprocess
import sys
import traceback
from pathlib import Path
from tempfile import TemporaryDirectory


def fuzz_one(name: str, arguments: list[str]) -> None:
    """Fuzz one target until libFuzzer's limit; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=["lookonce"]):
        from tests.fuzz.targets import CORPUS, TARGETS, attempt, prepare

    target, seen = TARGETS[name], set[str]()
    shared_memory = Path("/dev/shm")
    folder = TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None)
    file = prepare(Path(folder.name), target)

    def run(content: bytes) -> None:
        try:
            attempt(target, file, content)
        except Exception as error:
            ours = [each for each in traceback.extract_tb(error.__traceback__) if "lookonce" in each.filename]
            place = f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
            if place not in seen:
                seen.add(place)
                kept = CORPUS / name / f"found-{hashlib.sha256(content).hexdigest()[:8]}"
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(content)
                print(f"FINDING {name}: {place}: {error!s:.200} -> {kept}", file=sys.stdout, flush=True)

    # remarks about odd files go nowhere; libFuzzer itself writes to the descriptor
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        atheris.Setup([name, *arguments], run)
        atheris.Fuzz()


def main() -> int:
    """Fuzz all targets, or those named, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--seconds", type=int, default=600, help="time for all targets")
    parser.add_argument("--runs", type=int, default=-1, help="inputs for all targets")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options, arguments = parser.parse_known_args()
    if options.one:
        fuzz_one(options.one, [each for each in arguments if each != "--"] + options.targets)

    from tests.fuzz.targets import CORPUS, TARGETS

    names = options.targets or list(TARGETS)
    total, found = 0, 0
    for name in names:
        with TemporaryDirectory() as folder:
            words = Path(folder, "tokens")
            tokens = TARGETS[name].tokens.split()
            words.write_text("".join('"{}"\n'.format(re.sub(r'([\\"])', r"\\\1", each)) for each in tokens))
            new = Path(folder, "new")
            new.mkdir()
            limits = "-max_len=16384 -timeout=20 -rss_limit_mb=3000"
            limits += f" -max_total_time={options.seconds // len(names) or 1}"
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "tests.fuzz.run", "--one", name, "--", new, CORPUS / name),
                    *(
                        *limits.split(),
                        "-print_final_stats=1",
                        f"-runs={max(options.runs // len(names), -1)}",
                    ),
                    *(f"-artifact_prefix={CORPUS / name}/found-", *([f"-dict={words}"] if tokens else [])),
                ],
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        findings = [line for line in done.stdout.splitlines() if line.startswith("FINDING")]
        units = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        runs = int(units[1]) if units else 0
        if done.returncode:
            findings.append(f"FINDING {name}: the process ended with {done.returncode}: {done.stderr[-600:]}")
        total, found = total + runs, found + len(findings)
        print(f"{name:14} {runs:8} inputs, {len(findings)} findings", *findings, sep="\n", flush=True)
    print(f"{total} inputs, {found} findings")
    return bool(found)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
