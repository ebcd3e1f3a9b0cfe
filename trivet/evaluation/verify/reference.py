"""The libraries for which models are published, in fp32 and without remote code, on this machine."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.jina_bert import is_jina_bert
from trivet.checkpoint.native_config import native_config
from trivet.checkpoint.nomic import is_nomic_moe
from trivet.messages import Floats


class NoReference(Exception):
    """No library here computes the model; the message says why."""


class Reference:
    """One model in its library; numbers have the form of `trivet.evaluation.verify.served.Answered`."""

    def __init__(self, files: ModelFiles, device: str) -> None:
        """Load the model.

        Args:
            files: of the checkpoint.
            device: of torch.

        Raises:
            NoReference: no library computes it without remote code, or from its files alone.
        """
        self._files = files
        self._device = device
        self._model = self._loaded()

    def _loaded(self) -> Any:
        config = self._files.architecture.config
        if is_nomic_moe(config) or is_jina_bert(config) or native_config(config) is not None:
            raise NoReference(f"{self._files.path.name} is published with remote code, which is not run")
        if self._files.recipe is not None and self._files.task == "reranker":
            raise NoReference(f"the prompt {self._files.recipe} is in no file of {self._files.path.name}")
        try:
            return _KINDS[self._kind](self._files, self._device)
        except (ValueError, OSError, KeyError, RuntimeError, ImportError) as error:
            reason = str(error).splitlines()[0][:200] if str(error) else ""
            raise NoReference(f"the library does not load it: {type(error).__name__}: {reason}") from error

    @property
    def _kind(self) -> str:
        if self._files.late is not None:
            return "tokens"
        return "sparse" if self._files.is_splade else self._files.task

    @property
    def name(self) -> str:
        """The class that computes."""
        return type(self._model).__name__

    def vectors(self, texts: Sequence[str]) -> tuple[list[Floats], float]:
        """Of each text, and the seconds they took."""
        prompt = self._files.prompt(None)
        return _timed(lambda: list(self._model.encode(list(texts), prompt=prompt, show_progress_bar=False)))

    def sparse(self, texts: Sequence[str]) -> tuple[list[Floats], float]:
        """Of each text over the whole vocabulary, and the seconds they took."""

        def compute() -> list[Floats]:
            found = self._model.encode(list(texts), convert_to_sparse_tensor=False, show_progress_bar=False)
            return list(found.cpu().numpy())

        return _timed(compute)

    def tokens(self, texts: Sequence[str]) -> tuple[list[Floats], float]:
        """Of each document, and the seconds they took."""
        encode = self._model.encode_document
        return _timed(lambda: list(encode(list(texts), convert_to_numpy=True, show_progress_bar=False)))

    def logits(self, queries: Sequence[str], texts: Sequence[str]) -> tuple[list[Floats], float]:
        """Of all texts for each query, and the seconds they took."""
        return _timed(lambda: [self._of_query(query, texts) for query in queries])

    def _of_query(self, query: str, texts: Sequence[str]) -> Floats:
        if self._files.late is not None:
            [of_query] = self._model.encode_query([query], convert_to_numpy=True, show_progress_bar=False)
            found = self._model.encode_document(list(texts), convert_to_numpy=True, show_progress_bar=False)
            return np.array([(of_query @ one.T).max(axis=1).sum() for one in found], dtype=np.float32)
        from torch import nn

        pairs = [(query, text) for text in texts]
        logits: Floats = self._model.predict(pairs, activation_fn=nn.Identity(), show_progress_bar=False)
        return logits.reshape(len(texts))

    def scores(
        self, texts: Sequence[str], labels: Sequence[str], template: str, *, multi_label: bool
    ) -> tuple[list[Floats], float]:
        """Of all labels for each text, and the seconds they took."""

        def of_text(text: str) -> Floats:
            answer = self._model(text, list(labels), hypothesis_template=template, multi_label=multi_label)
            return np.array([answer["scores"][answer["labels"].index(label)] for label in labels], dtype=np.float32)

        return _timed(lambda: [of_text(text) for text in texts])


def _timed(compute: Callable[[], list[Floats]]) -> tuple[list[Floats], float]:
    began_s = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what the libraries are to change
        found = compute()
    return found, time.perf_counter() - began_s


def _embedder(files: ModelFiles, device: str) -> Any:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(files.path), **_options(device))
    model.max_seq_length = files.max_tokens
    return model


def _sparse(files: ModelFiles, device: str) -> Any:
    from sentence_transformers import SparseEncoder

    return SparseEncoder(str(files.path), **_options(device))


def _tokens(files: ModelFiles, device: str) -> Any:
    from sentence_transformers import MultiVectorEncoder

    return MultiVectorEncoder(str(files.path), **_options(device))


def _reranker(files: ModelFiles, device: str) -> Any:
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(files.path), max_length=files.max_tokens, **_options(device))


def _classifier(files: ModelFiles, device: str) -> Any:
    import torch
    from transformers import pipeline

    return pipeline("zero-shot-classification", model=str(files.path), device=device, dtype=torch.float32)


def _options(device: str) -> dict[str, Any]:
    import torch

    # transformers would compute in the dtype of the file.
    return {"device": device, "local_files_only": True, "model_kwargs": {"dtype": torch.float32}}


_KINDS: dict[str, Callable[[ModelFiles, str], Any]] = {
    "embedder": _embedder,
    "sparse": _sparse,
    "tokens": _tokens,
    "reranker": _reranker,
    "classifier": _classifier,
}
