"""Resolves the model name that a client sends. Pure.

A model's names are the served one, that one without its organisation, its task (`embedder`), and every configured alias
of one of these. Case does not matter.
"""

from collections.abc import Iterable, Mapping

from trivet.config import Task
from trivet.errors import InvalidInput
from trivet.messages import ModelCard

UNSPECIFIED = frozenset({"", "default/not-specified"})
"""Names that mean the server's default; the second is the default of infinity's client."""


def find_card(cards: Iterable[ModelCard], task: Task, asked: str | None, aliases: Mapping[str, str]) -> ModelCard:
    """Find the card of the task's model, if `asked` is one of its names or unspecified.

    Raises:
        InvalidInput: code `model_not_found`; the message names what is served.
    """
    card = next(card for card in cards if card.task == task)
    if asked is None or asked in UNSPECIFIED or _is_named(card, asked, aliases):
        return card
    raise _not_found(f"the model {asked[:200]!r} is not served here as {task}; {card.name!r} is")


def find_by_name(cards: Iterable[ModelCard], asked: str, aliases: Mapping[str, str]) -> ModelCard:
    """Find the card that `asked` names, of any task; InvalidInput (`model_not_found`) if there is none."""
    cards = list(cards)
    for card in cards:
        if _is_named(card, asked, aliases):
            return card
    raise _not_found(f"the model {asked[:200]!r} is not served here; served are {[card.name for card in cards]}")


def _is_named(card: ModelCard, asked: str, aliases: Mapping[str, str]) -> bool:
    asked = asked.casefold()
    meant = next((name for alias, name in aliases.items() if alias.casefold() == asked), asked).casefold()
    served = card.name.casefold()
    return meant in (served, served.rpartition("/")[2], card.task)


def _not_found(message: str) -> InvalidInput:
    return InvalidInput(message, field="model", code="model_not_found")
