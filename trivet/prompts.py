"""Chooses the prompt in front of a text. Pure; the engine prepends it, and the HTTP side reports which it was."""

from collections.abc import Mapping

_ALIASES = {
    "query": ("search_query",),
    "document": ("passage", "search_document", "corpus"),
    "passage": ("document",),
}


def named_prompt(prompts: Mapping[str, str], name: str) -> str | None:
    """Return the key of the prompt of this name; `document` and `passage` mean the same. None if there is none."""
    return next((alias for alias in (name, *_ALIASES.get(name, ())) if alias in prompts), None)


def prompt_for_type(prompts: Mapping[str, str], default: str | None, input_type: str | None) -> str | None:
    """Return the key of the prompt for texts of a kind.

    Many models have a prompt for queries alone: documents then get the default prompt, and the other way round.

    Args:
        prompts: text by name.
        default: name of the prompt of texts without a kind.
        input_type: `query`, `document` or None.

    Returns:
        None if no prompt is prepended.
    """
    found = None if input_type is None else named_prompt(prompts, input_type)
    if found is None and default is not None:
        found = named_prompt(prompts, default)
    return found
