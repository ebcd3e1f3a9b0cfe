"""Model inputs before their forward.

A sequence holds views into token arrays that its request owns. A premise that is read beside forty hypotheses is
therefore stored once; its ids are copied only when a batch is built.
"""

from dataclasses import dataclass

import numpy as np

from trivet.engine.text.tokenizer import Ids, SpecialTokens


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """One model input: its token ids are `views`, one after another. From view `type_1_from` on, token types are 1."""

    views: tuple[Ids, ...]
    type_1_from: int
    tokens: int
    unseen: int = 0
    """How many tokens at the end no other token attends to. They attend to the others, and so have states."""

    def ids(self) -> Ids:
        """Copy the whole input into one array, (tokens,)."""
        return np.concatenate(self.views)

    def first_type_1(self) -> int:
        """Return the position of the first token of type 1, or `tokens` where there is none."""
        return sum(len(view) for view in self.views[: self.type_1_from])


def single_sequence(special: SpecialTokens, *content: Ids) -> TokenSequence:
    """Wrap one text, given as one or more arrays of ids, in the model's special tokens."""
    views = (special.single_prefix, *content, special.single_suffix)
    return TokenSequence(views, len(views), sum(len(view) for view in views))


def whole_sequence(ids: Ids) -> TokenSequence:
    """Make a model input of ids that have their special tokens already."""
    return TokenSequence((ids,), 1, len(ids))


def pair_sequence(special: SpecialTokens, first: tuple[Ids, ...], second: Ids) -> TokenSequence:
    """Wrap two texts in the model's special tokens; the first may be given as several arrays of ids."""
    head = (special.pair_prefix, *first, special.pair_middle)
    views = (*head, second, special.pair_suffix)
    type_1_from = len(head) if special.has_type_ids else len(views)
    return TokenSequence(views, type_1_from, sum(len(view) for view in views))
