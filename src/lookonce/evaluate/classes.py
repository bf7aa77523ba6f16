"""Match the classes of a model and of annotated images by name."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from lookonce.detections import Detections
from lookonce.errors import ConfigError
from lookonce.samples import Sample, named_as_in, numbers_in

SHOWN = 8  # most names listed in a message

_numbers_in = lru_cache(maxsize=8)(numbers_in)  # called for every image; there may be 100,000 names


@dataclass(frozen=True, slots=True)
class SharedClasses:
    """Classes that a model and annotated images have in common.

    Attributes:
        names: shared class names, in the order of the data.
        model: class names of the model, with known aliases spelled as in the data.
        data: class names of the data.
        renamed: matched aliases, as (name in the model, name in the data).
    """

    names: tuple[str, ...]
    model: tuple[str, ...]
    data: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...] = ()

    @classmethod
    def match(cls, model: Sequence[str], data: Sequence[str], place: object) -> Self:
        """Match two lists of class names.

        Args:
            model: class names of the model.
            data: class names of the data.
            place: path of the data, for the error message.

        Raises:
            ConfigError: there is no class in common.
        """
        model, given = named_as_in(model, data), model
        renamed = tuple((old, new) for old, new in zip(given, model, strict=True) if old != new)
        known = set(model)
        names = tuple(name for name in data if name in known)
        if not names:
            raise ConfigError(
                f"{place}: expected classes that the model knows, found none: the model has {listed(given)}, "
                f"the data {listed(data)}"
            )
        return cls(names, tuple(model), tuple(data), renamed)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Return the class names of the data that the model does not have."""
        return tuple(name for name in self.data if name not in set(self.names))

    @property
    def unused(self) -> tuple[str, ...]:
        """Return the class names of the model that the data does not have."""
        return tuple(name for name in self.model if name not in set(self.names))

    def sample(self, sample: Sample, to: Sequence[str] | None = None) -> Sample:
        """Renumber the labels of a sample by names `to`, by default the shared ones; drop other objects."""
        names = named_as_in(self.names if to is None else to, self.data)
        return sample.renumbered(_numbers_in(names, self.data))

    def detections(self, found: Detections, to: Sequence[str] | None = None) -> Detections:
        """Renumber the labels of detections by names `to`, by default the shared ones; drop the others."""
        names = tuple(self.names if to is None else to)
        labels = _numbers_in(named_as_in(names, self.model), self.model)[found.labels]
        kept = labels >= 0
        return replace(found[kept], labels=labels[kept], names=names)


def listed(names: Sequence[str]) -> str:
    """List the first names and the number of further ones."""
    shown = ", ".join(names[:SHOWN])
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown or "none"
