"""Text pairs as token ids, packed into batches of a fixed token budget. Pure: no model, no optimiser.

A *group* is the unit that must not be torn apart: one pair for pointwise training, or a query with one good and
several bad documents for ranking. Batches hold whole groups of like length, so that little of a batch is padding.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tokenizers import Tokenizer

from trivet.starter.base import base_model_dir

CLS_ID, SEP_ID, PAD_ID = 101, 102, 0


@dataclass(frozen=True, slots=True)
class TextPair:
    """Two texts and what the model should say of them."""

    first: str
    second: str
    target: float  # class index for a classifier; relevance 0..1 for a reranker, NaN without a label
    similarity: float = math.nan
    """What a teacher says of the two, where one was asked."""


@dataclass(frozen=True, slots=True)
class PairSequence:
    """A tokenised pair: `[CLS] first [SEP] second [SEP]`."""

    ids: np.ndarray  # (T,) int32
    first_tokens: int  # how many of them carry token type 0
    target: float
    similarity: float = math.nan


@dataclass(frozen=True, slots=True)
class Group:
    """Sequences that stay in one batch. `source` names the data set, for losses and reports."""

    sequences: tuple[PairSequence, ...]
    source: str = ""

    @property
    def max_tokens(self) -> int:
        return max(len(s.ids) for s in self.sequences)

    @property
    def labelled(self) -> bool:
        return not any(math.isnan(s.target) for s in self.sequences)


@dataclass(frozen=True, slots=True)
class Batch:
    """A padded batch of B sequences, T tokens each."""

    input_ids: torch.Tensor  # (B, T) int64
    attention_mask: torch.Tensor  # (B, T) int64
    token_type_ids: torch.Tensor  # (B, T) int64
    targets: torch.Tensor  # (B,) float32
    group_ids: torch.Tensor  # (B,) int64, 0..G-1, ascending
    sources: tuple[str, ...]  # per group
    similarities: torch.Tensor  # (B,) float32, NaN where no teacher was asked

    def model_inputs(self) -> dict[str, torch.Tensor]:
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "token_type_ids": self.token_type_ids,
        }

    def halves(self) -> list[torch.Tensor]:
        """Rows in one or two parts of like length, such that padding each to its own maximum wastes least.

        A group keeps a short text beside a long one in a batch; the loss needs them together, the forward does not.
        Returns row indices per part.
        """
        lengths, order = self.attention_mask.sum(dim=1).sort()  # (B,)
        rows = len(lengths)
        cut = torch.arange(1, rows + 1)
        padded = cut * lengths + (rows - cut) * lengths[-1]  # padded tokens when the first `cut` rows go apart
        best = int(padded.argmin()) + 1
        return [part for part in (order[:best], order[best:]) if len(part)]

    def rows(self, index: torch.Tensor) -> dict[str, torch.Tensor]:
        """Model inputs of the rows in `index`, without columns that are padding in all of them."""
        tokens = int(self.attention_mask[index].sum(dim=1).max())
        return {name: tensor[index, :tokens] for name, tensor in self.model_inputs().items()}


class PairTokenizer:
    """Tokenises pairs to at most `max_tokens`; the longer text of a pair gives way first."""

    def __init__(self, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._tokenizer = Tokenizer.from_file(str(base_model_dir() / "tokenizer.json"))
        self._tokenizer.no_truncation()  # the file bakes in a cut at 128 tokens
        self._tokenizer.no_padding()

    def encode(self, pairs: Sequence[TextPair]) -> list[PairSequence]:
        """Tokenise `pairs`; same order, same length."""
        texts = [p.first for p in pairs] + [p.second for p in pairs]
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        firsts, seconds = encoded[: len(pairs)], encoded[len(pairs) :]
        return [
            self._join(first.ids, second.ids, pair) for first, second, pair in zip(firsts, seconds, pairs, strict=True)
        ]

    def encode_single(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Ids of `[CLS] text [SEP]`, each cut to `max_tokens`.  # (T,) int64"""
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array([CLS_ID, *e.ids[: self.max_tokens - 2], SEP_ID], dtype=np.int64) for e in encoded]

    def _join(self, first: list[int], second: list[int], pair: TextPair) -> PairSequence:
        room = self.max_tokens - 3
        if len(first) + len(second) > room:
            # As transformers' `longest_first`: both end at half the room, or the shorter stays whole.
            keep_first = min(len(first), max(room - len(second), (room + 1) // 2))
            first, second = first[:keep_first], second[: room - keep_first]
        ids = np.array([CLS_ID, *first, SEP_ID, *second, SEP_ID], dtype=np.int32)
        return PairSequence(ids=ids, first_tokens=len(first) + 2, target=pair.target, similarity=pair.similarity)


def groups_of_one(sequences: Iterable[PairSequence], source: str = "") -> list[Group]:
    """Make each sequence a separate group, for pointwise training."""
    return [Group((s,), source) for s in sequences]


def pack_epoch(
    groups: Sequence[Group], *, token_budget: int, seed: int, epoch: int, window: int = 4096
) -> list[list[int]]:
    """Plan one epoch: lists of group indices, each list one batch of at most `token_budget` padded tokens.

    Groups are shuffled, cut into windows of `window`, sorted by length within a window, filled into batches, and
    the batches shuffled again. The plan depends on `(seed, epoch)` alone, which is what makes resuming exact.
    A group that alone exceeds the budget gets a separate batch.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(len(groups))
    batches: list[list[int]] = []
    for start in range(0, len(order), window):
        chunk = sorted(order[start : start + window].tolist(), key=lambda i: groups[i].max_tokens)
        current: list[int] = []
        rows = 0
        for index in chunk:  # ascending length, so this group's length is the batch's padded length
            group = groups[index]
            new_rows = rows + len(group.sequences)
            if current and new_rows * group.max_tokens > token_budget:
                batches.append(current)
                current, new_rows = [], len(group.sequences)
            current.append(index)
            rows = new_rows
        if current:
            batches.append(current)
    rng.shuffle(batches)
    return batches


def collate(groups: Sequence[Group]) -> Batch:
    """Pad groups into one batch."""
    rows = [s for g in groups for s in g.sequences]
    length = max(len(s.ids) for s in rows)
    ids = np.full((len(rows), length), PAD_ID, dtype=np.int64)  # (B, T)
    mask = np.zeros_like(ids)
    types = np.zeros_like(ids)
    for row, sequence in enumerate(rows):
        tokens = len(sequence.ids)
        ids[row, :tokens] = sequence.ids
        mask[row, :tokens] = 1
        types[row, sequence.first_tokens : tokens] = 1
    return Batch(
        input_ids=torch.from_numpy(ids),
        attention_mask=torch.from_numpy(mask),
        token_type_ids=torch.from_numpy(types),
        targets=torch.tensor([s.target for s in rows], dtype=torch.float32),
        group_ids=torch.repeat_interleave(torch.arange(len(groups)), torch.tensor([len(g.sequences) for g in groups])),
        sources=tuple(g.source for g in groups),
        similarities=torch.tensor([s.similarity for s in rows], dtype=torch.float32),
    )
