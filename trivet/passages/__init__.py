"""Texts as passages: pieces about one thing, short enough for a model's window, with their places in the text.

Code is divided by its definitions and statements, prose by its headings, paragraphs and sentences, everything else by
its lines. Nothing here knows HTTP or a model; the token counter is handed in.
"""

from trivet.passages.formats import FORMATS, format_of
from trivet.passages.passage import CountTokens, Passage, PassageKind
from trivet.passages.reading import SCHEME, division_steps, passages_of

__all__ = ["FORMATS", "SCHEME", "CountTokens", "Passage", "PassageKind", "division_steps", "format_of", "passages_of"]
