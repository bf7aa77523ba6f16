from pathlib import Path

import pytest

from lookonce.runtime import cpu
from lookonce.runtime.cpu import Cpu, this_cpu

X86 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t: fpu avx2 avx512f avx512_vnni avx512_bf16 rdrand\n\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\nCPU part\t: 0xd40\n"
OLD = "model name : Xeon E5\nflags : fpu avx avx2\n"


@pytest.mark.parametrize(
    ("text", "instructions", "bfloat16", "at_once"),
    [
        (X86, ("avx2", "avx512f", "avx512_vnni", "avx512_bf16"), True, 16),
        (ARM, ("asimddp", "i8mm", "bf16"), True, 8),
        (OLD, ("avx2",), False, 8),
        ("model name : unknown\n", None, True, 8),
    ],
)
def test_instructions_are_read_from_the_cpu_file(
    monkeypatch: pytest.MonkeyPatch,
    text: str,
    instructions: tuple[str, ...] | None,
    bfloat16: bool,
    at_once: int,
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: text)

    found = this_cpu.__wrapped__()

    assert found.instructions == instructions
    assert found.computes_bfloat16 is bfloat16
    assert found.channels_at_once == at_once


def test_a_system_without_a_cpu_file_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: Path, encoding: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setattr(cpu, "usable_cores", lambda: 3)

    found = this_cpu.__wrapped__()

    assert (found.instructions, found.cores) == (None, 3)
    assert str(Cpu("M9", None, 1)) == "M9, 1 core, instruction sets unknown"
