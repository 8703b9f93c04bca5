"""Regression forests as plain arrays: grown by scikit-learn, kept and asked without it.

Geurts, Ernst and Wehenkel 2006, "Extremely randomized trees". A leaf holds no mean but the numbers of the training
samples (exemplars) in it. So a forest says of a new sample how much each exemplar counts, and one forest predicts
whatever is known of the exemplars: means, and variances too (Meinshausen 2006, "Quantile regression forests").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
from scipy.sparse import csr_matrix

from i2s.errors import UserError
from i2s.progress import in_threads


@dataclass(frozen=True)
class Forest:
    """The nodes of all trees in one row, each tree's after those of the one before.

    roots: int32 (trees,). children: int32 (nodes, 2), where a sample goes whose feature is at most the threshold, and
    where it else goes; a leaf names itself twice. feature: int32, threshold: float32 (nodes,). begin: int32
    (nodes + 1,), where in `members` a node's exemplars begin; inner nodes have none. members: int32 (trees *
    exemplars,).
    """

    roots: np.ndarray
    children: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    begin: np.ndarray
    members: np.ndarray

    @classmethod
    def grow(
        cls,
        x: np.ndarray,
        y: np.ndarray,
        trees: int,
        min_leaf: int,
        max_features: float,
        seed: int,
        workers: int = 0,
    ) -> Self:
        """Trees that predict y (N, D) from x (N, F), each grown on all samples, with random thresholds.

        min_leaf: samples of a leaf at least. max_features: the part of the features that a split chooses from.
        workers: threads; 0: as many as there are cores. They change nothing in the result.
        """
        from sklearn.tree import ExtraTreeRegressor  # imported here: whoever only speaks does without

        x, y = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(y, np.float64)

        def grow(tree_seed: int) -> tuple[np.ndarray, ...]:
            # One by one, each cut down at once to what is kept: scikit-learn's own trees hold y's means at all nodes.
            tree = ExtraTreeRegressor(
                min_samples_leaf=min_leaf, max_features=max_features, random_state=tree_seed
            ).fit(x, y).tree_  # fmt: skip
            itself, leaf = np.arange(tree.node_count), tree.children_left < 0
            children = np.stack([tree.children_left, tree.children_right], 1)
            at = tree.apply(x)
            return (
                np.where(leaf[:, None], itself[:, None], children).astype(np.int32),
                np.where(leaf, 0, tree.feature).astype(np.int32),
                _round_down(np.where(leaf, 0, tree.threshold)),
                np.bincount(at, minlength=tree.node_count),
                np.argsort(at, kind="stable").astype(np.int32),
            )

        # The seeds that ExtraTreesRegressor would give its trees.
        seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=trees).tolist()
        grown = in_threads(grow, seeds, "growing trees", "tree", workers)
        children, feature, threshold, counts, members = zip(*grown, strict=True)
        roots = np.cumsum([0, *(len(tree) for tree in feature)]).astype(np.int32)
        return cls(
            roots[:-1],
            np.concatenate([root + tree for root, tree in zip(roots, children, strict=False)]),
            np.concatenate(feature),
            np.concatenate(threshold),
            np.cumsum([0, *np.concatenate(counts)]).astype(np.int32),
            np.concatenate(members),
        )

    @property
    def exemplars(self) -> int:
        """The number of training samples."""
        return len(self.members) // len(self.roots)

    def leaves(self, x: np.ndarray) -> np.ndarray:
        """The leaf of each sample (N, F) in each tree: int (N, trees). All go down one level at a time."""
        x = np.ascontiguousarray(x, np.float32)
        node = np.tile(self.roots, (len(x), 1))
        rows = np.arange(len(x))[:, None]
        while True:
            right = x[rows, self.feature[node]] > self.threshold[node]
            below = self.children[node, right.view(np.int8)]
            if np.array_equal(below, node):
                return node
            node = below

    def weights(self, x: np.ndarray) -> csr_matrix:
        """How much each exemplar counts for each sample (N, F): float32 (N, exemplars), each row of sum 1."""
        leaves = self.leaves(x)
        begin = self.begin[leaves.ravel()].astype(np.int64)
        counts = self.begin[leaves.ravel() + 1] - begin
        ends = np.cumsum(counts)
        inside = np.arange(ends[-1]) - np.repeat(ends - counts, counts)
        values = np.repeat((1 / (len(self.roots) * counts)).astype(np.float32), counts)
        rows = np.concatenate([[0], ends.reshape(leaves.shape)[:, -1]])
        return csr_matrix((values, self.members[np.repeat(begin, counts) + inside], rows), (len(x), self.exemplars))

    def arrays(self, prefix: str) -> dict[str, np.ndarray]:
        """The forest for `numpy.savez`, under names that begin with `prefix`."""
        return {f"{prefix}_{field.name}": getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], prefix: str, features: int, exemplars: int) -> Self:
        """The inverse of `arrays`. Raises UserError unless it is a forest over so many features and exemplars."""
        forest = cls(*(arrays[f"{prefix}_{field.name}"] for field in fields(cls)))
        nodes = len(forest.feature)
        here = np.arange(nodes)[:, None]
        leaf = (forest.children == here).all(1)
        sound = (
            forest.children.shape == (nodes, 2)
            and forest.threshold.shape == (nodes,)
            and forest.begin.shape == (nodes + 1,)
            and forest.members.shape == (len(forest.roots) * exemplars,)
            and all(np.issubdtype(a.dtype, np.integer) for a in (forest.roots, forest.children, forest.feature))
            and all(np.issubdtype(a.dtype, np.integer) for a in (forest.begin, forest.members))
            and _within(forest.roots, nodes)
            and _within(forest.children, nodes)
            and (leaf | (forest.children > here).all(1)).all()  # else it could go round in circles
            and _within(forest.feature, features)
            and _within(forest.members, exemplars)
            and forest.begin[0] == 0
            and forest.begin[-1] == len(forest.members)
            and (np.diff(forest.begin)[leaf] > 0).all()
            and (np.diff(forest.begin) >= 0).all()
        )
        if not sound:
            raise UserError(f"the arrays {prefix}_* are no forest over {features} features and {exemplars} exemplars")
        return forest


def _round_down(threshold: np.ndarray) -> np.ndarray:
    """Thresholds as float32 that part float32 samples as the float64 ones do."""
    rounded = threshold.astype(np.float32)
    return np.where(rounded > threshold, np.nextafter(rounded, np.float32(-np.inf)), rounded)


def _within(indices: np.ndarray, size: int) -> bool:
    return len(indices) > 0 and int(indices.min()) >= 0 and int(indices.max()) < size
