"""Keys of inputs: hashes of everything that an input's result depends on, and of nothing else. Pure.

A key leaves out lane, priority, label names and the other inputs of the request. Texts are hashed, never stored.
"""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import trivet
from trivet.messages import ModelCard

FORMAT = "2"
"""Raise it when the same request to the same model starts to give another result."""

Fields = tuple[str | None, ...]

_DIGEST_BYTES = 32


def model_fields(card: ModelCard, computed_with: str) -> Fields:
    """The model's part of a key. `computed_with`: the settings that results depend on and that the card lacks."""
    return (FORMAT, trivet.__version__, card.task, card.name, card.revision, str(card.max_tokens), computed_with)


def input_keys(shared: Fields, inputs: Iterable[Fields]) -> list[bytes]:
    """A key per input; `shared` is what all inputs of the request have in common."""
    prefix = blake2b(digest_size=_DIGEST_BYTES)
    _feed(prefix, shared)
    keys = []
    for fields in inputs:
        digest = prefix.copy()
        _feed(digest, fields)
        keys.append(digest.digest())
    return keys


def _feed(digest: Any, fields: Fields) -> None:
    """Hash lengths before contents, so that no two lists of fields give the same bytes."""
    digest.update(len(fields).to_bytes(4, "little"))
    for field in fields:
        if field is None:
            digest.update(b"\0")
        else:
            content = field.encode("utf-8", "surrogatepass")
            digest.update(b"\1" + len(content).to_bytes(8, "little"))
            digest.update(content)
