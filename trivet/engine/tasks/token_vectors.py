"""Sequences of models that give numbers of each token, and which of these tokens count."""

import numpy as np

from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.late_interaction import Expansion, LateInteraction, Side
from trivet.engine.batch.token_batch import TokenSequence, single_sequence
from trivet.engine.text.tokenizer import Ids, TextTokenizer
from trivet.engine.text.windows import window_spans
from trivet.errors import ModelError
from trivet.messages import Floats

MOST_NUMBERS = 1 << 26
"""Numbers of all token vectors of a request that are held at once: 256 MiB."""
MOST_ANSWERED_NUMBERS = 1 << 24
"""The same of a request that is answered with them: 64 MiB, and several times that as JSON."""


class TokenVectors:
    """One model's token vectors. A text without a kind is read as it stands, and its tokens count as a document's."""

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer) -> None:
        """Find the tokens that the files name.

        Raises:
            ModelError: the tokenizer has no token to fill up queries with.
        """
        self._files = files
        self._special = tokenizer.special
        self._late = files.late or LateInteraction()
        found = (tokenizer.raw.token_to_id(word) for word in self._late.skipped)
        self._skipped = np.array([id_ for id_ in found if id_ is not None and id_ != tokenizer.unknown_id], np.int32)
        self._filler = self._filler_id(self._late.expansion, tokenizer)
        self._first_column = 1 if files.late is None and "sparse" in files.outputs else 0
        self._first_row = 1 if files.late is None else 0
        """bge-m3 gives no vector of the token in front of a text, whose state is the vector of the whole."""
        sides: tuple[Side | None, ...] = ("query", "document", None)
        self._limits = {side: min(files.max_tokens, self._late.tokens(side) or files.max_tokens) for side in sides}

    def _filler_id(self, expansion: Expansion | None, tokenizer: TextTokenizer) -> int:
        if expansion is None:
            return self._special.pad_id
        found = tokenizer.mask_id if expansion.token is None else tokenizer.raw.token_to_id(expansion.token)
        if found is None:
            raise ModelError(
                f"{self._files.path}: queries are filled up with {expansion.token or 'the mask'}, "
                "which the tokenizer does not have"
            )
        return int(found)

    def limit(self, side: Side | None) -> int:
        """Return the tokens of the longest sequence of a kind."""
        return self._limits[side]

    def sequence(self, side: Side | None, *content: Ids) -> TokenSequence:
        """Wrap a text in special tokens; fill a query up."""
        plain = single_sequence(self._special, *content)
        expansion = self._late.expansion if side == "query" else None
        missing = 0 if expansion is None else expansion.tokens - plain.tokens
        if expansion is None or missing <= 0:
            return plain
        views = (*plain.views, np.full(missing, self._filler, np.int32))
        return TokenSequence(views, len(views), plain.tokens + missing, 0 if expansion.is_seen else missing)

    def windows(
        self, ids: Ids, side: Side | None, prompt: Ids | None, room: int, overlap_tokens: int
    ) -> list[TokenSequence]:
        """Cut a text into windows, each of which begins with the prompt.

        Args:
            ids: of the prompt and the text.
            side: the kind of the text.
            prompt: ids of the prompt alone.
            room: tokens of a window, special ones apart.
            overlap_tokens: tokens that two windows in a row share.
        """
        lead = ids[: _shared_prefix(ids, prompt)] if prompt is not None else ids[:0]
        content = ids[len(lead) :]
        spans = window_spans(len(content), room - len(lead), overlap_tokens)
        return [self.sequence(side, lead, content[start:end]) for start, end in spans]

    def rows(self, sequence: TokenSequence, outputs: Floats, side: Side | None) -> Floats:
        """Return the vectors that count, a copy.

        Args:
            sequence: N tokens.
            outputs: (N, numbers) of the forward.
            side: the kind of its text.
        """
        vectors = outputs[self._first_row :, self._first_column :]
        if (side or "document") in self._late.skipped_in and len(self._skipped):
            counts = ~np.isin(sequence.ids()[self._first_row :], self._skipped)
            return vectors[counts]
        return vectors.copy()


def _shared_prefix(ids: Ids, prompt_ids: Ids) -> int:
    """Length of the common beginning: a subword may straddle the border between prompt and text."""
    shortest = min(len(ids), len(prompt_ids))
    differs = np.flatnonzero(ids[:shortest] != prompt_ids[:shortest])
    return int(differs[0]) if len(differs) else shortest


def max_sim(query: Floats, document: Floats) -> float:
    """Return the sum, over the query's vectors (Q, H), of the largest product with one of the document's (D, H)."""
    if not len(document):
        return 0.0
    return float((query @ document.T).max(axis=1).sum())
