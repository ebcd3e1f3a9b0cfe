"""The reranker's part of `research.training.on_card`: queries with documents of their corpus, and the ranking loss.

The teacher is the base encoder, whose cosine ranks better than a young reranker: it embeds every query and document on
the device before the training, and finds each query's neighbours there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from research.training.on_card import LogitsOf, Step, in_like_lengths, on_device
from research.training.packed import (
    CLS_PIECE,
    Array,
    Pool,
    Ragged,
    joined,
    length_bucketed,
    pad_rows,
    ragged,
    row_lengths,
)
from research.training.plain_encoder import mean_vectors

SIMILARITY_SCALE = 20.0
"""Cosines times this are logits: what the embedder itself was trained with."""
SIMILARITY_MIDPOINT = 0.5
"""The cosine at which the teacher, asked about one document alone, is of two minds."""
SMOOTHING = 0.05
LISTWISE_WEIGHT = 1.0
FALSE_NEGATIVE_COSINE = 0.8
"""A document nearer than this to the right one may be right, too."""
NEIGHBOURS = 32
PARTS = 2
WIDTH = 8
"""The most documents to a query."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """How groups of a corpus are made, and what they teach."""

    documents: int
    """Documents to a query, those that people annotated among them."""
    blind: float
    """Share of the groups in which one of them is drawn blindly."""
    label_evidence: float
    """Nats by which a label outweighs the embedder's opinion of the order."""
    pointwise: bool
    """Whether the opinion is also what is learned of each document by itself. Otherwise its label is."""
    share: float = 1.0
    """How many of the queries a pass shows, so that no corpus crowds the others out."""


CORPORA = {
    "qnli": Corpus(4, 0.5, 6.0, pointwise=False),
    "boolq": Corpus(4, 0.5, 6.0, pointwise=False),
    "sections": Corpus(8, 0.3, 1.5, pointwise=True),
    "code-bare": Corpus(8, 0.2, 1.0, pointwise=True, share=0.5),
    "code-whole": Corpus(8, 0.2, 1.0, pointwise=True, share=0.5),
    "code-unnamed": Corpus(8, 0.2, 1.0, pointwise=True, share=0.7),
    "mixed": Corpus(8, 0.3, 2.0, pointwise=True),
}


class RerankerTask:
    """Groups of documents per query, drawn again at every pass."""

    labels = 1

    def __init__(
        self, arrays: Mapping[str, Array], weights: Mapping[str, Tensor], device: torch.device, *, token_budget: int
    ) -> None:
        self._pool = Pool(arrays["pool_ids"], arrays["pool_starts"])
        self._queries = Ragged(arrays["query_values"], arrays["query_starts"])  # [CLS] query [SEP]
        self._documents = Ragged(arrays["document_values"], arrays["document_starts"])  # document [SEP]
        self._given = Ragged(arrays["given_documents"], arrays["given_starts"])
        self._given_targets = arrays["given_targets"]
        self._own = arrays["own"]  # (queries,): the document that the query was made from; never among the drawn ones
        self._names = arrays["corpus_names"].tolist()
        self._query_corpus = np.repeat(np.arange(len(self._names)), np.diff(arrays["corpus_query_starts"]))
        self._document_starts = arrays["corpus_document_starts"]
        self._budget = token_budget
        self._query_tokens = row_lengths(self._pool, self._queries)
        self._document_tokens = row_lengths(self._pool, self._documents)
        self._device = device
        on_card = {name: value.to(device) for name, value in weights.items()}
        self._query_vectors = self._embed(on_card, self._queries)
        cls = ragged([[CLS_PIECE]] * len(self._documents))
        self._document_vectors = self._embed(on_card, joined(cls, self._documents))
        self._neighbours = self._nearest(arrays["corpus_query_starts"])
        self._held_back = arrays["held_back"]
        self._training = np.setdiff1d(np.arange(len(self._queries)), self._held_back)
        self._tables()

    @torch.no_grad()
    def _embed(self, weights: Mapping[str, Tensor], rows: Ragged) -> Tensor:
        """Unit vectors of rows.  # (rows, D) float32"""
        lengths = row_lengths(self._pool, rows)
        order = np.argsort(-lengths, kind="stable")
        vectors = torch.empty((len(rows), weights["bert.pooler.dense.weight"].shape[0]), device=self._device)
        start = 0
        while start < len(order):
            chosen = order[start : start + max(1, 4 * self._budget // int(lengths[order[start]]))]
            batch = on_device(pad_rows(self._pool, rows.take(chosen)), self._device)
            vectors[torch.from_numpy(chosen).to(self._device)] = mean_vectors(weights, batch, dtype=torch.bfloat16)
            start += len(chosen)
        return vectors

    def _nearest(self, query_starts: Array) -> Array:
        """Each query's nearest documents of its corpus, without its own and those that mean the same.

        # (queries, NEIGHBOURS) int32, -1 where a document is not to be drawn
        """
        found = np.full((len(self._queries), NEIGHBOURS), -1, dtype=np.int32)
        for corpus in range(len(self._names)):
            first, last = int(self._document_starts[corpus]), int(self._document_starts[corpus + 1])
            documents = self._document_vectors[first:last]
            for start in range(int(query_starts[corpus]), int(query_starts[corpus + 1]), 4096):
                chosen = np.arange(start, min(start + 4096, int(query_starts[corpus + 1])))
                similarity = self._query_vectors[chosen[0] : chosen[-1] + 1] @ documents.T
                near = similarity.topk(min(NEIGHBOURS, last - first), dim=1).indices  # (Q, N)
                own = torch.from_numpy(self._own[chosen].astype(np.int64)).to(self._device)
                own_vectors = self._document_vectors[own.clamp(min=0)]
                alike = torch.einsum("qd,qnd->qn", own_vectors, documents[near]) > FALSE_NEGATIVE_COSINE
                alike |= near + first == own[:, None]
                near = torch.where(alike & (own >= 0)[:, None], -1, near + first)
                found[chosen, : near.shape[1]] = near.cpu().numpy()
        return found

    def _tables(self) -> None:
        """Put what `_draw` needs of each query into rectangles, so that a pass is drawn in one go."""
        sizes = np.diff(self._given.starts)
        self._given_table = np.full((len(self._queries), WIDTH), -1, dtype=np.int32)  # (queries, WIDTH)
        self._target_table = np.full((len(self._queries), WIDTH), np.nan, dtype=np.float32)
        rows = np.repeat(np.arange(len(sizes)), sizes)
        columns = np.arange(len(rows)) - np.repeat(self._given.starts[:-1], sizes)
        self._given_table[rows, columns] = self._given.values
        self._target_table[rows, columns] = self._given_targets
        for column in range(WIDTH):  # an annotated document is not drawn as well
            again = self._neighbours == self._given_table[:, column : column + 1]
            self._neighbours[again] = -1
        settings = [CORPORA[self._names[c]] for c in self._query_corpus]
        self._wanted = np.array([s.documents for s in settings])
        self._shares = np.array([s.share for s in settings])
        self._blind = np.array([s.blind for s in settings])
        self._evidence = np.array([s.label_evidence for s in settings], dtype=np.float32)
        self._taught = np.array([s.pointwise for s in settings])
        # Where the right document is known, one that is drawn is taken to be wrong; else nothing is known of it.
        self._drawn_target = np.where((self._target_table == 1).any(axis=1), 0.0, np.nan).astype(np.float32)

    def steps(self, rng: np.random.Generator) -> Iterator[Step]:
        queries = self._training[rng.random(len(self._training)) < self._shares[self._training]]
        documents, targets = self._draw(queries, rng)
        there = documents >= 0
        longest = np.where(there, self._document_tokens[documents], 0).max(axis=1)
        tokens = self._query_tokens[queries] + longest
        for batch in length_bucketed(there.sum(axis=1), tokens, token_budget=self._budget, rng=rng):
            yield self._step(queries[batch], documents[batch], targets[batch])

    def _draw(self, queries: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Documents for each query, and what is known of them: 1, 0 or NaN.  # (queries, WIDTH), -1 is no document"""
        near = self._neighbours[queries]
        near = np.take_along_axis(near, np.argsort(rng.random(near.shape), axis=1), axis=1)
        corpus = self._query_corpus[queries]
        blind = rng.integers(self._document_starts[corpus], self._document_starts[corpus + 1]).astype(np.int32)
        drawn_blindly = (rng.random(len(queries)) < self._blind[queries]) & (blind != self._own[queries])
        blind = np.where(drawn_blindly, blind, -1)
        documents = np.concatenate([self._given_table[queries], blind[:, None], near], axis=1)
        drawn = np.repeat(self._drawn_target[queries][:, None], 1 + near.shape[1], axis=1)
        targets = np.concatenate([self._target_table[queries], drawn], axis=1)
        kept = (documents >= 0) & (np.cumsum(documents >= 0, axis=1) <= self._wanted[queries][:, None])
        first = np.argsort(~kept, axis=1, kind="stable")[:, :WIDTH]
        kept, documents, targets = (np.take_along_axis(a, first, axis=1) for a in (kept, documents, targets))
        return np.where(kept, documents, -1), targets

    def _step(self, queries: Array, documents: Array, targets: Array) -> Step:
        there = documents >= 0
        row, column = np.nonzero(there)
        asking, chosen = queries[row], documents[there].astype(np.int64)
        pieces = joined(self._queries.take(asking), self._documents.take(chosen))
        lengths = self._query_tokens[asking] + self._document_tokens[chosen]
        parts, order = in_like_lengths(self._pool, pieces, lengths, PARTS)
        about: dict[str, Array] = {
            "queries": asking,
            "documents": chosen,
            "targets": targets[there],
            "cell": row * WIDTH + column,
            "groups": queries,
            "evidence": self._evidence[asking],
            "taught": self._taught[asking],
        }
        return Step(parts, order, about)

    def loss(self, logits: Tensor, about: Mapping[str, Tensor]) -> Tensor:
        """Binary cross-entropy on every pair, plus the cross-entropy to the target order within each group.

        The target order is `softmax(20 · cosine + evidence · [right])`. What is learned of a document by itself is its
        label, smoothed, or in corpora without annotations, the same opinion.
        """
        scores = logits[:, 0]
        cosine = (self._query_vectors[about["queries"]] * self._document_vectors[about["documents"]]).sum(dim=1)
        right = (about["targets"] > 0.5).float()
        opinion = SIMILARITY_SCALE * cosine + about["evidence"] * right
        alone = (opinion - SIMILARITY_SCALE * SIMILARITY_MIDPOINT).sigmoid()
        unlabelled = about["targets"].isnan()
        wanted = torch.where(
            about["taught"] | unlabelled, alone, about["targets"].nan_to_num() * (1 - 2 * SMOOTHING) + SMOOTHING
        )
        pointwise = functional.binary_cross_entropy_with_logits(scores, wanted)
        # A question whose sentences are all annotated as wrong has a target order, too: the teacher's.
        empty = torch.full((len(about["groups"]) * WIDTH,), -1e4, device=scores.device)  # of no weight in a softmax
        target = empty.index_copy(0, about["cell"], opinion).view(-1, WIDTH).softmax(dim=1)
        table = empty.index_copy(0, about["cell"], scores).view(-1, WIDTH)
        listwise = functional.cross_entropy(table, target, reduction="none")
        entropy = torch.special.entr(target).sum(dim=1)  # so that the loss of a perfect imitation is zero
        return pointwise + LISTWISE_WEIGHT * (listwise - entropy).mean()

    def measure(self, logits_of: LogitsOf) -> dict[str, float]:
        """Of held-back queries: the rank of the right document, and of the one that the teacher likes best."""
        documents, targets = self._draw(self._held_back, np.random.default_rng(18))
        there = documents >= 0
        row, _ = np.nonzero(there)
        asking, chosen = self._held_back[row], documents[there].astype(np.int64)
        logits = logits_of(self._pool, joined(self._queries.take(asking), self._documents.take(chosen)))[:, 0]
        query_vectors, document_vectors = (
            vectors[torch.from_numpy(index).to(self._device)]
            for vectors, index in ((self._query_vectors, asking), (self._document_vectors, chosen))
        )
        cosines = (query_vectors * document_vectors).sum(dim=1).cpu().numpy()
        ends = np.cumsum(there.sum(axis=1))[:-1]
        figures: dict[str, list[float]] = {}
        for query, scores, cosine, known in zip(
            self._held_back, *(np.split(a, ends) for a in (logits, cosines, targets[there])), strict=True
        ):
            name = self._names[self._query_corpus[query]]
            if len(scores) < 2:
                continue
            best = scores[cosine.argmax()]
            figures.setdefault(f"{name}-teacher-mrr", []).append(1 / (1 + int((scores > best).sum())))
            if (known == 1).any():
                figures.setdefault(f"{name}-mrr", []).append(_reciprocal_rank(scores, known))
                figures.setdefault(f"{name}-cosine-mrr", []).append(_reciprocal_rank(cosine, known))
            if name == "qnli":
                right = (scores > 0) == (known > 0.5)
                figures.setdefault("qnli-accuracy", []).extend(right[~np.isnan(known)].tolist())
        return {name: round(float(np.mean(values)), 4) for name, values in sorted(figures.items())}


def _reciprocal_rank(scores: Array, known: Array) -> float:
    return 1 / (1 + int((scores > scores[known == 1].max()).sum()))
