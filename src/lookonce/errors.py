"""The errors that users may see.

```
LookonceError                printed by the command line without a traceback; exit code 2
├── AnnotationError          an annotation file, or a row in it, cannot be used
│   └── NoAnnotationsError   there are images, but nothing that looks like annotations
├── ImageError               an image or video cannot be read, or is rejected
├── ConfigError              a setting, recipe or command-line value is wrong
│   └── GateDataError        AP of int8 cannot be measured: the images have no annotations
├── ModelFileError           a model, weights or .cfg file cannot be used
├── SourceError              nothing to detect on: no such file, camera or stream
├── DownloadError            a file cannot be downloaded, or is not the expected one
├── TrainingError            a run cannot continue: out of memory, stale checkpoint
│   └── NonFiniteLossError   a loss became infinite or NaN
├── ContenderError           an engine cannot run a model; `bench` and `tune` print it in the engine's row
└── MissingExtraError        an optional dependency is not installed
```

A message names the file and the place in it, the expected value and the one found.
"""


class LookonceError(Exception):
    """Base class of all errors caused by the input or the environment, not by lookonce."""


class AnnotationError(LookonceError):
    """An annotation file, or a row in it, cannot be used."""


class NoAnnotationsError(AnnotationError):
    """There are images, but nothing that looks like annotations."""


class ImageError(LookonceError):
    """An image or video cannot be read, or is rejected before decoding."""


class ConfigError(LookonceError):
    """A setting, a recipe or a command-line value is wrong."""


class GateDataError(ConfigError):
    """There are no annotations for comparing the AP of int8 and float32."""


class ModelFileError(LookonceError):
    """A model, weights or `.cfg` file is damaged, or is of another kind."""


class SourceError(LookonceError):
    """There is nothing to detect on: no such file, folder, camera or stream."""


class DownloadError(LookonceError):
    """A file cannot be downloaded, or is not the expected one."""


class TrainingError(LookonceError):
    """A training run cannot continue."""


class NonFiniteLossError(TrainingError):
    """A loss became infinite or NaN; the message names the images."""


class ContenderError(LookonceError):
    """An engine cannot run a model, or failed while running it."""


class MissingExtraError(LookonceError):
    """An optional dependency is not installed; the message has the command that installs it."""
