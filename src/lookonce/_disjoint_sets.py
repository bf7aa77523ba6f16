"""Disjoint sets of numbers, to find the connected components of a graph."""

import numpy as np
from numpy.typing import NDArray


class DisjointSets:
    """Disjoint sets of the numbers from 0; the smallest number in a set is its root."""

    def __init__(self, count: int = 0) -> None:
        """Start with a set for each of `count` numbers."""
        self._parent = list(range(count))

    def add(self, count: int) -> list[int]:
        """Add `count` sets of one new number each, and return these numbers."""
        first = len(self._parent)
        added = list(range(first, first + count))
        self._parent += added
        return added

    def root(self, number: int) -> int:
        """Return the root of a number's set."""
        parent = self._parent
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    def join(self, one: int, other: int) -> None:
        """Merge the sets of two numbers."""
        low, high = sorted((self.root(one), self.root(other)))
        self._parent[high] = low

    def roots(self) -> NDArray[np.int64]:
        """Return the root of every number, (N,)."""
        roots = np.array(self._parent, np.int64)
        while (roots != roots[roots]).any():
            roots = roots[roots]
        return roots
