"""Chooses the prompt in front of a text. Pure; the engine prepends it, and the HTTP side reports which it was."""

import re
from collections.abc import Mapping

_ALIASES = {
    "query": ("search_query",),
    "document": ("passage", "search_document", "corpus"),
    "passage": ("document",),
}


_WITH_INSTRUCTION = (
    re.compile(r"(?P<before>Instruct: ?)(?P<task>.*?)(?P<after>\s*\nQuery: ?)", re.DOTALL),
    re.compile(r"(?P<before>task: )(?P<task>.*?)(?P<after> \| query: ?)", re.DOTALL),
)
"""Prompts of queries that say what a search is for: those of Qwen3, e5-mistral and gte-Qwen2, and of EmbeddingGemma."""


def instructed_prompt(prompts: Mapping[str, str], instruction: str) -> str | None:
    """Return the model's prompt for queries with another task in it.

    Args:
        prompts: text by name.
        instruction: what the search is for, such as "Given a bug report, find the code that causes it".

    Returns:
        None if no prompt of the model says what a search is for.
    """
    name = named_prompt(prompts, "query")
    candidates = ([] if name is None else [prompts[name]]) + list(prompts.values())
    for form in _WITH_INSTRUCTION:
        for prompt in candidates:
            if found := form.fullmatch(prompt):
                return found["before"] + instruction + found["after"]
    return None


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
