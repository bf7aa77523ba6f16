"""The CPU that networks run on: its name, its instructions for matrix products, and its cores."""

import hashlib
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lookonce._counted import counted

# Instruction sets that determine which precision is fast, by their Linux names, on x86 and on ARM.
INSTRUCTIONS = (
    "avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16",
    "asimddp", "i8mm", "bf16", "sve",
)  # fmt: skip
BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # each of these computes in bfloat16


@dataclass(frozen=True, slots=True)
class Cpu:
    """A CPU model, and the number of its cores that this process may use.

    Attributes:
        name: name reported by the system.
        instructions: supported sets out of `INSTRUCTIONS`; None if the system does not report them.
        cores: number of cores that this process may run on.
    """

    name: str
    instructions: tuple[str, ...] | None
    cores: int

    def __str__(self) -> str:
        sets = "instruction sets unknown" if self.instructions is None else " ".join(self.instructions)
        return f"{self.name}, {counted(self.cores, 'core')}, {sets}"

    @property
    def key(self) -> str:
        """Return a short name for use in paths: a hash of the description."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:16]

    @property
    def computes_bfloat16(self) -> bool:
        """Return whether the CPU has instructions for bfloat16; True if the system does not report them."""
        return self.instructions is None or not BFLOAT16.isdisjoint(self.instructions)

    @property
    def channels_at_once(self) -> int:
        """Return how many channels engines compute at once: 16 with AVX-512, else 8 (benchmarks/slim.md)."""
        return 16 if "avx512f" in (self.instructions or ()) else 8


@cache
def this_cpu() -> Cpu:
    """Describe the CPU of this machine."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    entries = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = entries.get("flags", entries.get("Features"))
    found = None if flags is None else tuple(each for each in INSTRUCTIONS if each in flags.split())
    name = entries.get("model name") or platform.processor() or platform.machine()
    return Cpu(name, found, usable_cores())


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
