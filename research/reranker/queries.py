"""Search-like queries made from functions by rule. Pure, given a seeded generator.

People who look for code type fragments: "python check if variable is iterable". A docstring's first sentence is the
nearest thing in the data to what they mean, and the identifier is the second. Each training pair withholds from the
document whatever its query was made from, so that the model cannot win by finding the query verbatim.
"""

import re

import numpy as np

from research.reranker.functions import Function

_STOP_WORDS = {"a", "an", "the", "this", "that", "its", "of", "be", "by", "given", "which", "will", "it", "are"}
_OPENINGS = ("", "", "", "python ", "python ", "how to ", "how do i ", "python how to ", "function to ")
_DUNDER_OR_MARKUP = re.compile(r":\w+:`~?([^`]*)`|``?([^`]*)``?")


def query_from_summary(summary: str, rng: np.random.Generator) -> str:
    """The summary in lower case, without mark-up and most filler, sometimes shortened, sometimes as a question."""
    plain = _DUNDER_OR_MARKUP.sub(lambda m: m.group(1) or m.group(2) or "", summary).lower()
    words = re.findall(r"[a-z0-9_.+-]+", plain)
    if not words:
        return ""
    words[0] = _imperative(words[0])
    words = [w for w in words if w not in _STOP_WORDS or rng.random() < 0.3]
    if len(words) > 5:
        words = [w for i, w in enumerate(words) if i < 2 or rng.random() < 0.85]
    return _opening(rng) + " ".join(words[:14])


def query_from_name(name: str, rng: np.random.Generator) -> str:
    """The identifier's words, or an empty string when there are too few to mean anything."""
    words = identifier_words(name)
    return _opening(rng) + " ".join(words) if len(words) >= 3 else ""


def identifier_words(name: str) -> list[str]:
    """`parse_httpDate2` → parse, http, date2."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name).replace("_", " ")
    return spaced.lower().split()


def without_name(function: Function) -> str:
    """The function with its docstring, called `f` in its own definition."""
    return re.sub(rf"\b{re.escape(function.name)}\b", "f", function.code)


def _opening(rng: np.random.Generator) -> str:
    return str(rng.choice(_OPENINGS))


def _imperative(verb: str) -> str:
    """Docstrings say "Returns"; people ask for "return"."""
    for suffix, ending in (("sses", "ss"), ("ches", "ch"), ("shes", "sh"), ("ies", "y")):
        if verb.endswith(suffix):
            return verb.removesuffix(suffix) + ending
    return verb[:-1] if len(verb) > 4 and verb.endswith("s") and not verb.endswith("ss") else verb
