"""The classifier's part of `research.training.on_card`: rows of (premise, hypothesis), and their loss."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from research.training.on_card import LogitsOf, Step
from research.training.packed import Array, Pool, Ragged, length_bucketed, pad_rows, row_lengths

ENTAILMENT = 0


class ClassifierTask:
    """Groups of rows, of which one is entailed where there are several; sources named `dev-…` are held back."""

    labels = 2

    def __init__(self, arrays: Mapping[str, Array], *, token_budget: int) -> None:
        self._pool = Pool(arrays["pool_ids"], arrays["pool_starts"])
        self._pieces = Ragged(arrays["piece_values"], arrays["piece_starts"])
        self._targets = arrays["targets"].astype(np.int64)  # (rows,): 0 entailed, 1 not
        self._group_starts = arrays["group_starts"]
        self._sources = arrays["group_sources"]
        self._names = arrays["source_names"].tolist()
        self._budget = token_budget
        self._lengths = row_lengths(self._pool, self._pieces)
        held_back = np.array([name.startswith("dev-") for name in self._names])
        self._training = np.flatnonzero(~held_back[self._sources])
        self._held_back = np.flatnonzero(held_back[self._sources])

    def steps(self, rng: np.random.Generator) -> Iterator[Step]:
        rows = np.diff(self._group_starts)[self._training]
        tokens = np.maximum.reduceat(self._lengths, self._group_starts[:-1])[self._training]
        for batch in length_bucketed(rows, tokens, token_budget=self._budget, rng=rng):
            yield self.step(self._training[batch])

    def step(self, groups: Array) -> Step:
        """The rows of these groups, one behind the other."""
        members = Ragged(np.arange(len(self._targets)), self._group_starts).take(groups)
        sizes = np.diff(members.starts)
        rows = pad_rows(self._pool, self._pieces.take(members.values))
        about = {
            "targets": self._targets[members.values],
            "group": np.repeat(np.arange(len(groups)), sizes),
            "several": (sizes > 1).astype(np.float32),
        }
        return Step([rows], np.arange(len(members.values)), about)

    def loss(self, logits: Tensor, about: Mapping[str, Tensor]) -> Tensor:
        """Cross-entropy of every row, plus that of the softmax over the entailment logits of a group."""
        targets, group, several = about["targets"], about["group"], about["several"]
        pointwise = functional.cross_entropy(logits, targets)
        entailment = logits[:, ENTAILMENT]
        highest = torch.full_like(several, -torch.inf).scatter_reduce(0, group, entailment.detach(), "amax")  # (G,)
        spread = torch.zeros_like(several).index_add(0, group, torch.exp(entailment - highest[group]))
        true = torch.zeros_like(several).index_add(0, group, torch.where(targets == ENTAILMENT, entailment, 0.0))
        within = (highest + torch.log(spread) - true) * several
        return pointwise + within.sum() / several.sum().clamp(min=1)

    def measure(self, logits_of: LogitsOf) -> dict[str, float]:
        """Share of the held-back groups in which the true hypothesis wins, or, of single rows, those that are right."""
        members = Ragged(np.arange(len(self._targets)), self._group_starts).take(self._held_back)
        logits = logits_of(self._pool, self._pieces.take(members.values))
        right: dict[str, list[bool]] = {}
        for number, group in enumerate(self._held_back.tolist()):
            here = slice(members.starts[number], members.starts[number + 1])
            targets = self._targets[members.values[here]]
            if len(targets) > 1:
                correct = bool(targets[logits[here, ENTAILMENT].argmax()] == ENTAILMENT)
            else:
                correct = bool(logits[here].argmax() == targets[0])
            right.setdefault(self._names[self._sources[group]], []).append(correct)
        return {name: round(float(np.mean(values)), 4) for name, values in right.items()}
