"""Says in a sentence what is wrong with a value. Pure.

pydantic's own messages speak of its types ("Input should be a valid dictionary or object to extract fields from").
These say what to send.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_SENTENCES: Mapping[str, str] = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_sub_type": "must be a string",
    "string_unicode": "is not valid Unicode text: it has half of a surrogate pair",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "model_attributes_type": "must be a JSON object",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a number, neither infinite nor NaN",
    "extra_forbidden": "is not a field of this route; remove it",
}


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {'entries' if what == 'entry' else what + 's'}"


def _least_length(limits: Mapping[str, Any]) -> str:
    least, actual = limits["min_length"], limits.get("actual_length", 0)
    return "must not be empty" if not actual else f"must have at least {_counted(least, 'entry')}; it has {actual}"


def _least_characters(limits: Mapping[str, Any]) -> str:
    least = limits["min_length"]
    return "must not be empty" if least == 1 else f"must have at least {_counted(least, 'character')}"


_WITH_LIMITS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "too_short": _least_length,
    "too_long": lambda limits: (
        f"must have at most {_counted(limits['max_length'], 'entry')}; it has {limits.get('actual_length') or 'more'}"
    ),
    "string_too_short": _least_characters,
    "string_too_long": lambda limits: f"must have at most {_counted(limits['max_length'], 'character')}",
    "string_pattern_mismatch": lambda limits: (
        "must contain {}" if limits["pattern"] == r"\{\}" else f"must match the pattern {limits['pattern']}"
    ),
    "greater_than": lambda limits: f"must be greater than {limits['gt']:g}",
    "greater_than_equal": lambda limits: f"must be at least {limits['ge']:g}",
    "less_than": lambda limits: f"must be less than {limits['lt']:g}",
    "less_than_equal": lambda limits: f"must be at most {limits['le']:g}",
    "literal_error": lambda limits: f"must be {limits['expected']}",
}


_LONGEST_PATH = 200
"""A caller's own labels and fields are part of it, and may be as long as a body."""
_LONGEST_KEY = 80


def field_and_sentence(
    kind: str, location: Sequence[int | str], limits: Mapping[str, Any], message: str, *, whole: str
) -> tuple[str, str]:
    """Say which value is wrong, and what is wrong with it.

    Args:
        kind: pydantic's type of the error.
        location: where pydantic found it. Of a key of an object, the key and `[key]` are its end.
        limits: the error's context.
        message: pydantic's message, which is kept where it was written here: errors that validators of this package
            raise.
        whole: what to name if the error is of the value as a whole.

    Returns:
        The field, and a sentence that begins with it.
    """
    of_key = len(location) > 1 and location[-1] == "[key]"
    field = _path(location[:-2] if of_key else location) or whole
    name = f"the name {_quoted(str(location[-2]))} " if of_key else ""
    return field, f"{field}: {name}{_worded(kind, limits, message)}"


def _quoted(name: str) -> str:
    return json.dumps(name if len(name) <= _LONGEST_KEY else f"{name[:_LONGEST_KEY]}…", ensure_ascii=False)


def _worded(kind: str, limits: Mapping[str, Any], message: str) -> str:
    if kind in _SENTENCES:
        return _SENTENCES[kind]
    if kind in _WITH_LIMITS:
        return _WITH_LIMITS[kind](limits)
    return message


def _path(location: Sequence[int | str]) -> str:
    """Return where a value is, as `documents[3].text`; empty for the whole."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path[:_LONGEST_PATH]
