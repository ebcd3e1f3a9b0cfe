"""Texts to pieces of a pool (`packed`): tokenised where the tokenizer is, shared where texts have parts in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenizers import Tokenizer

from research.training.batches import CLS_ID, SEP_ID
from research.training.packed import Pool, PoolBuilder
from trivet.starter.base import base_model_dir

PartsOf = Callable[[str], list[str]]
"""Where a text may be divided: at white space only, which WordPiece never looks across."""


class PiecePacker:
    """Tokenises the parts of texts in bulk and numbers them."""

    def __init__(self, parts_of: PartsOf) -> None:
        self._parts_of = parts_of
        self._tokenizer = Tokenizer.from_file(str(base_model_dir() / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._ids: dict[str, list[int]] = {}
        self._builder = PoolBuilder(CLS_ID, SEP_ID)

    def learn(self, texts: Sequence[str]) -> None:
        """Tokenise what is not yet known."""
        parts = dict.fromkeys(part for text in dict.fromkeys(texts) for part in self._parts_of(text))
        new = [part for part in parts if part not in self._ids]
        for encoding, part in zip(self._tokenizer.encode_batch_fast(new, add_special_tokens=False), new, strict=True):
            self._ids[part] = encoding.ids

    def tokens(self, text: str) -> int:
        return sum(len(self._ids[part]) for part in self._parts_of(text))

    def pieces(self, text: str, max_tokens: int | None = None) -> list[int]:
        """The numbers of a text's pieces, of its first `max_tokens`."""
        found: list[int] = []
        room = self.tokens(text) if max_tokens is None else max_tokens
        for part in self._parts_of(text):
            if ids := self._ids[part][:room]:
                found.append(self._builder.add(ids))
                room -= len(ids)
        return found

    def pool(self) -> Pool:
        return self._builder.pool()
