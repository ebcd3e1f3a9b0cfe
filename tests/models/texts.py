"""What the models are asked: texts of many lengths and kinds, the same for every model."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer

_PROSE = """
The parser reads a Value from each line and returns an option list of names with type default when the Help string is
not given so that one argument may take several values in a group of data fields which dataclass and median share
"""
_WORDS = _PROSE.split()
_LENGTHS_WORDS = (1, 4, 11, 30, 60, 120, 250)
_ODD = (
    "Ünïcödé — naïve 日本語 🙂",
    "  Two  spaces,\n\n\ta tab and a line  ",
    "def area(r):\n    return PI * r * r  # the circle",
)
_SPECIAL = "what is [SEP], </s> or <eos> to a <|endoftext|>?"

QUERY = "Which option takes several Values?"
LABELS = ("parsers", "cooking", "statistics")
TEMPLATE = "This example is {}."


def _text(words: int, start: int) -> str:
    """Running text that differs with `start`."""
    chosen = [_WORDS[(start + 7 * at) % len(_WORDS)] for at in range(words)]
    return " ".join(word + ("." if at % 9 == 8 else "") for at, word in enumerate(chosen))


def texts_for(path: Path, limit_tokens: int, *, special_tokens: bool = True) -> tuple[str, ...]:
    """Texts of at most that many tokens of this checkpoint's own, from one word to as long as fits, short and long in
    turns."""
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    candidates = [*_ODD, *([_SPECIAL] if special_tokens else []), *(_text(words, words) for words in _LENGTHS_WORDS)]
    fitting = sorted((t for t in candidates if len(tokenizer.encode(t).ids) <= limit_tokens), key=len)
    return tuple(fitting[at // 2 if at % 2 == 0 else -(at // 2 + 1)] for at in range(len(fitting)))


def short_texts(count: int) -> tuple[str, ...]:
    """That many different texts of a few words."""
    return tuple(f"{_text(3 + at % 5, at)} {at}" for at in range(count))
