"""Reads what a checkpoint's card states: the front matter of its README.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from trivet.checkpoint.files import find_weight_files
from trivet.errors import ModelError

_FILE = "README.md"
_MOST_CHARACTERS = 200_000
_FENCE = "---"


@dataclass(frozen=True, slots=True)
class StatedFacts:
    """What a card says about its model. A card is prose by people: what cannot be read counts as not stated."""

    licence: str | None = None
    """Its identifier, such as `apache-2.0`, or the name of a licence without one."""
    languages: tuple[str, ...] = ()
    """Codes such as `en`, or `multilingual`."""

    @classmethod
    def read(cls, model_dir: Path) -> Self:
        """Read the card of a checkpoint; empty if it has none or no front matter."""
        front = _front_matter(model_dir / _FILE)
        licence = front.get("license")
        if licence in (None, "other"):
            licence = front.get("license_name") or licence
        return cls(None if licence is None else str(licence), tuple(_texts(front.get("language"))))


def weights_bytes(model_dir: Path) -> int | None:
    """Return the size of a checkpoint's weights on disk; None if they are not safetensors."""
    try:
        return sum(file.stat().st_size for file in find_weight_files(model_dir))
    except (ModelError, OSError):
        return None


def _front_matter(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            text = opened.read(_MOST_CHARACTERS)
    except OSError:
        return {}
    begin, fence, rest = text.partition(f"{_FENCE}\n")
    front, end, _ = rest.partition(f"\n{_FENCE}")
    if begin or not fence or not end:
        return {}
    import yaml  # only where a card is read: `trivet plan` works without the server

    try:
        import yaml  # the base distribution, whose `trivet plan` reads cards, need not have it
    except ModuleNotFoundError:
        return {}
    try:
        stated = yaml.safe_load(front)
    except yaml.YAMLError:
        return {}
    return stated if isinstance(stated, dict) else {}


def _texts(stated: Any) -> Iterator[str]:
    # YAML reads Norwegian, `no`, as false.
    for one in stated if isinstance(stated, list) else [] if stated is None else [stated]:
        yield "no" if one is False else str(one)
