"""Merged sets, compared with the connected components found by walking the graph."""

import numpy as np

from lookonce._disjoint_sets import DisjointSets


def test_new_numbers_are_their_own_roots() -> None:
    sets = DisjointSets()
    assert sets.roots().tolist() == []
    assert sets.add(2) == [0, 1]
    assert sets.add(3) == [2, 3, 4]
    assert sets.roots().tolist() == [0, 1, 2, 3, 4]


def test_joined_numbers_share_the_smallest_as_root() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        edges = rng.integers(0, 30, (rng.integers(0, 40), 2)).tolist()
        reached = [{n} for n in range(30)]
        for _ in range(30):
            for a, b in edges:
                reached[a] = reached[b] = reached[a] | reached[b]
        sets = DisjointSets(30)
        for a, b in edges:
            sets.join(a, b)
        expected = [min(each) for each in reached]
        assert [sets.root(n) for n in range(30)] == expected
        assert sets.roots().tolist() == expected
