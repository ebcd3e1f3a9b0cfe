"""Reference results of the libraries that the models are published for, in fp32, without remote code."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from trivet.messages import Floats

Side = Literal["query", "document"] | None
"""What a text is to an embedder: it decides the prompt."""

Sparse = dict[int, float]
"""Weight by token id."""


def _load(kind: str, path: Path) -> Any:
    # Collecting the tests imports this file, and importing sentence-transformers takes 8 s of CPU time.
    import sentence_transformers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # transformers 5 would compute in the dtype of the file.
        fp32 = {"dtype": torch.float32}
        return getattr(sentence_transformers, kind)(str(path), device="cpu", local_files_only=True, model_kwargs=fp32)


def _of_side(model: Any, side: Side) -> Any:
    return {"query": model.encode_query, "document": model.encode_document}.get(str(side), model.encode)


class SentenceTransformerReference:
    """`SentenceTransformer.encode`, `encode_query` and `encode_document`."""

    def __init__(self, path: Path) -> None:
        self._model = _load("SentenceTransformer", path)

    @property
    def limit_tokens(self) -> int:
        """Tokens after which it truncates."""
        return int(self._model.max_seq_length)

    def embed(self, texts: Sequence[str], side: Side = None) -> Floats:
        """(texts, dimensions)."""
        vectors: Floats = _of_side(self._model, side)(list(texts), convert_to_numpy=True)
        return vectors


class CrossEncoderReference:
    """`CrossEncoder.predict` without its activation."""

    def __init__(self, path: Path) -> None:
        self._model = _load("CrossEncoder", path)

    def logits(self, query: str, documents: Sequence[str]) -> Floats:
        """(documents,), or (documents, labels) where the library sees several labels."""
        pairs = [(query, document) for document in documents]
        found: Floats = self._model.predict(pairs, activation_fn=nn.Identity(), convert_to_numpy=True)
        return found


class ZeroShotReference:
    """The zero-shot-classification pipeline of transformers."""

    def __init__(self, path: Path) -> None:
        from transformers import pipeline

        self._pipeline = pipeline("zero-shot-classification", model=str(path), device="cpu", dtype=torch.float32)

    def scores(self, texts: Sequence[str], labels: Sequence[str], template: str, *, multi_label: bool) -> Floats:
        """(texts, labels)."""
        rows = []
        for text in texts:
            answer = self._pipeline(text, list(labels), hypothesis_template=template, multi_label=multi_label)
            rows.append([answer["scores"][answer["labels"].index(label)] for label in labels])
        return np.asarray(rows, dtype=np.float32)


class SparseReference:
    """`SparseEncoder.encode`, as weights by token id."""

    def __init__(self, path: Path) -> None:
        self._model = _load("SparseEncoder", path)

    def sparse(self, texts: Sequence[str], side: Side = None) -> list[Sparse]:
        """Of each text."""
        found = _of_side(self._model, side)(list(texts), convert_to_sparse_tensor=False).numpy()
        return [{int(at): float(row[at]) for at in np.flatnonzero(row)} for row in found]


class TokensReference:
    """`MultiVectorEncoder.encode_query` and `encode_document`: a vector for each token that counts."""

    def __init__(self, path: Path) -> None:
        self._model = _load("MultiVectorEncoder", path)

    def tokens(self, texts: Sequence[str], side: Side = None) -> list[Floats]:
        """(tokens, dimensions) of each text."""
        return list(_of_side(self._model, side)(list(texts), convert_to_numpy=True))


class MaxSimReference:
    """Scores of documents as `TokensReference` and the definition of MaxSim give them."""

    def __init__(self, path: Path) -> None:
        self._tokens = TokensReference(path)

    def logits(self, query: str, documents: Sequence[str]) -> Floats:
        """(documents,)."""
        [of_query] = self._tokens.tokens([query], "query")
        found = self._tokens.tokens(documents, "document")
        return np.asarray([(of_query @ one.T).max(axis=1).sum() for one in found], dtype=np.float32)

    def scores(self, query: str, documents: Sequence[str]) -> Floats:
        """(documents,): the mean over the query's vectors instead of the sum, from 0 on."""
        [of_query] = self._tokens.tokens([query], "query")
        return np.clip(self.logits(query, documents) / len(of_query), 0, 1)
