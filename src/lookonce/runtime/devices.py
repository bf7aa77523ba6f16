"""Name devices, and choose one of those that an engine finds on a machine.

| name | |
|---|---|
| `auto` | the engine's usual device: a GPU with CUDA if there is one, else the CPU |
| `cpu` | |
| `cuda`, `cuda:1` | an NVIDIA GPU: ONNX Runtime, TensorRT, torch |
| `mps` | the GPU of an Apple chip: torch |
| `gpu`, `gpu:1`, `npu` | OpenVINO's: Intel GPUs and neural processors |

The choice depends only on a list of names, so it can be tested for machines that we do not have.
"""

import re
from collections.abc import Sequence

from lookonce.errors import ConfigError

AUTO = "auto"
KINDS = ("cpu", "cuda", "mps", "gpu", "npu")
ALONE = ("cpu", "mps")  # of which a machine has one


def check_device(name: str) -> None:
    """Check a device name, and refuse one that no engine knows.

    Raises:
        ConfigError: the name is none of these.
    """
    kind, colon, number = name.partition(":")
    numbered = re.fullmatch("0" if kind in ALONE else "[0-9]{1,3}", number)
    if name != AUTO and (kind not in KINDS or (colon and not numbered)):
        raise ConfigError(
            f"device: expected auto, {', '.join(KINDS)}, or one of several, such as cuda:1; found {name!r}"
        )


def kind_of(device: str) -> str:
    """Return the name without its number: `cuda` of `cuda:1`."""
    return device.partition(":")[0]


def choose_device(wanted: str, found: Sequence[str], engine: str) -> str:
    """Return the device to use.

    Args:
        wanted: a name, or `auto` for the first found.
        found: devices of this machine as named above, the engine's usual one first.
        engine: name of the engine, for the message.

    Raises:
        ConfigError: the machine has no such device.
    """
    for name in found:
        if wanted in (AUTO, name, kind_of(name), f"{name}:0"):
            return name
    raise ConfigError(
        f"device: expected {' or '.join(found)}, which {engine} finds on this machine, found {wanted!r}"
    )
