"""Names of devices, and the choice among those that an engine finds on a machine.

| name | device |
|---|---|
| `auto` | the engine's default: a GPU with CUDA if there is one, else the CPU |
| `cpu` | the CPU |
| `cuda`, `cuda:1` | an NVIDIA GPU, for ONNX Runtime, TensorRT and torch |
| `mps` | the GPU of an Apple chip, for torch |
| `gpu`, `gpu:1`, `npu` | an Intel GPU or neural processor, for OpenVINO |

The choice depends only on a list of names, so it can be tested for machines that we do not have.
"""

import re
from collections.abc import Sequence

from lookonce.errors import ConfigError

AUTO = "auto"
KINDS = ("cpu", "cuda", "mps", "gpu", "npu")
ALONE = ("cpu", "mps")  # kinds of which a machine has only one


def check_device(name: str) -> None:
    """Check that a device has one of the names above.

    Raises:
        ConfigError: there is no such name.
    """
    kind, colon, number = name.partition(":")
    numbered = re.fullmatch("0" if kind in ALONE else "[0-9]{1,3}", number)
    if name != AUTO and (kind not in KINDS or (colon and not numbered)):
        raise ConfigError(
            f"device: expected auto, {', '.join(KINDS)}, or one of several, such as cuda:1; found {name!r}"
        )


def kind_of(device: str) -> str:
    """Return the name without its number: `cuda` for `cuda:1`."""
    return device.partition(":")[0]


def choose_device(wanted: str, found: Sequence[str], engine: str) -> str:
    """Return the name of the device to use.

    Args:
        wanted: a name, or `auto` for the first device found.
        found: names of the devices of this machine, the engine's default first.
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
