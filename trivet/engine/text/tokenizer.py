"""Turns texts into token ids, without cutting or padding.

It needs the `tokenizers` library alone; a serving process does not import transformers. Special tokens are kept apart
from content, because they are added to each window.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Self

import numpy as np
from tokenizers import AddedToken, Encoding, Tokenizer
from tokenizers.normalizers import BertNormalizer, Lowercase, Normalizer
from tokenizers.normalizers import Sequence as NormalizerSequence

from trivet.checkpoint.tokenizer_settings import TokenizerSettings
from trivet.engine.text.segments import (
    SEGMENT_CHARACTERS,
    SHARED_CHARACTERS,
    Placed,
    Segment,
    batches,
    cut_at_words,
    joint,
    segments,
)
from trivet.errors import ModelError
from trivet.messages import Ids as Ids
from trivet.messages import Token
from trivet.turns import Steps, finish


def _ids(values: Sequence[int]) -> Ids:
    return np.asarray(values, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    """The tokens that the model puts around one text, and around two."""

    single_prefix: Ids
    single_suffix: Ids
    pair_prefix: Ids
    pair_middle: Ids
    pair_suffix: Ids
    pad_id: int
    has_type_ids: bool
    """Whether the second text of a pair carries token type 1."""

    @property
    def single_tokens(self) -> int:
        """How many there are in a sequence of one text."""
        return len(self.single_prefix) + len(self.single_suffix)

    @property
    def pair_tokens(self) -> int:
        """How many there are in a sequence of two texts."""
        return len(self.pair_prefix) + len(self.pair_middle) + len(self.pair_suffix)


_NO_TOKENS = Placed(_ids([]), _ids([]), _ids([]))


class TooManyTokens(Exception):
    """Texts have more tokens than one request may have."""


class TextTokenizer:
    """A model's tokenizer.json, with the truncation and padding that it prescribes switched off."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        pad_id: int | None = None,
        mask_id: int | None = None,
        unknown_id: int | None = None,
    ) -> None:
        padding = tokenizer.padding
        if pad_id is None:
            pad_id = int(padding["pad_id"]) if padding else _find_pad_id(tokenizer)
        # Many published files cut at 128 tokens and pad to it: a silent loss that no caller asked for.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.special = _derive_special_tokens(tokenizer, pad_id)
        self.mask_id = mask_id
        """The token that stands for a missing word; None if there is none."""
        self.unknown_id = unknown_id
        """The token of what the vocabulary lacks; None if there is none."""
        self._cuts = _gives_the_same_in_segments(tokenizer)

    @classmethod
    def from_dir(cls, path: Path, *, pad_id: int | None = None, markers: Iterable[str] = ()) -> Self:
        """Load `tokenizer.json` from a model directory.

        Args:
            path: the directory.
            pad_id: of the padding token; None: as the files say.
            markers: beginnings of texts, each of which is one token where the vocabulary has it.

        Raises:
            ModelError: there is none.
        """
        file = path / "tokenizer.json"
        if not file.is_file():
            raise ModelError(f"{file} is missing: Trivet reads tokenizers in the tokenizer.json format only")
        settings = TokenizerSettings.read(path)
        try:
            tokenizer = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing more specific
            raise ModelError(f"{file} is no tokenizer: {error}") from error
        added = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
        if further := sorted(settings.added_tokens - added):
            raise ModelError(
                f"{path / 'tokenizer_config.json'}: added_tokens_decoder has {', '.join(map(repr, further[:5]))}, "
                "which tokenizer.json does not add; save the tokenizer again, so that both files say the same"
            )
        tokenizer.normalizer = _normalizer(tokenizer.normalizer, settings)
        if pad_id is None and not tokenizer.padding:
            stated = (tokenizer.token_to_id(token) for token in settings.padding_tokens)
            pad_id = next((int(found) for found in stated if found is not None), None)
        _keep_whole(tokenizer, markers)

        def first_id(tokens: Iterable[str]) -> int | None:
            found = (tokenizer.token_to_id(token) for token in tokens)
            return next((int(one) for one in found if one is not None), None)

        mask_id = first_id((*settings.mask_tokens, "[MASK]", "<mask>"))
        unknown_id = None if settings.unknown_token is None else first_id([settings.unknown_token])
        return cls(tokenizer, pad_id=pad_id, mask_id=mask_id, unknown_id=unknown_id)

    def check_ids(self, entries: int, source: Path) -> None:
        """Refuse a tokenizer that does not belong to the weights. Scores of ids beyond them would look plausible.

        Args:
            entries: of the table of embeddings.
            source: the folder of the model, for messages.

        Raises:
            ModelError: an id that the tokenizer can give is not in the table.
        """
        token, largest = max(self._tokenizer.get_vocab(with_added_tokens=True).items(), key=itemgetter(1))
        largest = max(largest, self.special.pad_id)
        if largest >= entries:
            raise ModelError(
                f"{source / 'tokenizer.json'} gives ids up to {largest} ({token[:80]!r}), but the model's table of "
                f"embeddings ends at {entries - 1} (config.json: vocab_size): they do not belong together"
            )

    def encode(self, texts: Sequence[str], *, most_tokens: int | None = None) -> list[Ids]:
        """Do all steps of `encode_steps` at once."""
        return finish(self.encode_steps(texts, most_tokens=most_tokens))

    def encode_steps(
        self, texts: Sequence[str], *, most_tokens: int | None = None, most_each: int | None = None
    ) -> Steps[list[Ids]]:
        """Return the ids of each text, without special tokens, in steps of bounded time and memory.

        Equal texts are tokenised once.

        Args:
            texts: any texts; long ones are tokenised in segments.
            most_tokens: of all distinct texts together.
            most_each: a text of more tokens is tokenised only a little beyond this number.

        Yields:
            The number of characters of each step, before it is done.

        Raises:
            TooManyTokens: there are more than `most_tokens`; the remaining texts have not been tokenised.
        """
        found: dict[str, Ids] = {}
        taken = 0
        for batch in batches(dict.fromkeys(texts)):
            if len(batch[0]) > SEGMENT_CHARACTERS:
                [text] = batch
                left = None if most_tokens is None else most_tokens - taken
                limits = [limit for limit in (left, most_each) if limit is not None]
                ids = [(yield from self._long(text, min(limits, default=None)))]
            else:
                yield sum(map(len, batch))
                ids = [_ids(one.ids) for one in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
            found.update(zip(batch, ids, strict=True))
            taken += sum(map(len, ids))
            if most_tokens is not None and taken > most_tokens:
                raise TooManyTokens
        return [found[text] for text in texts]

    def _long(self, text: str, most: int | None) -> Steps[Ids]:
        """Tokenise one text in segments, until there are more than `most` tokens."""
        kept: list[Ids] = []
        taken = 0

        def keep(ids: Ids) -> None:
            nonlocal taken
            kept.append(ids)
            taken += len(ids)

        before, kept_from = _NO_TOKENS, 0
        for segment in segments(text, at_words=self._cuts):
            yield segment.end - segment.start
            placed = self._placed(text, segment)
            if segment.shared:
                keep_until, first = joint(before, placed, segment.start, segment.start + segment.shared)
            else:
                keep_until, first = len(before.ids), 0
            keep(before.ids[kept_from:keep_until])
            before, kept_from = placed, first
            # The last tokens of a segment may not be final: they must lie beyond what is asked for.
            if most is not None and taken + len(placed.ids) - first > most + SHARED_CHARACTERS:
                break
        keep(before.ids[kept_from:])
        return np.concatenate(kept)

    def _placed(self, text: str, segment: Segment) -> Placed:
        [one] = self._tokenizer.encode_batch([text[segment.start : segment.end]], add_special_tokens=False)
        offsets = np.array(one.offsets, dtype=np.int32).reshape(-1, 2) + segment.start
        return Placed(_ids(one.ids), np.maximum.accumulate(offsets[:, 0]), offsets[:, 1])

    def tokens(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[tuple[Token, ...]]:
        """Return each text as tokens with their character ranges, in human-readable form."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return [_tokens(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]

    def first_unknown(self, ids: Iterable[int]) -> int | None:
        """Return the first id that no token has; None if all have one."""
        return next((token_id for token_id in ids if self._tokenizer.id_to_token(token_id) is None), None)

    def text(self, ids: Sequence[int], *, skip_special_tokens: bool) -> str:
        """Return the text of tokens, as far as the tokenizer keeps it: many lose case and spaces."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=skip_special_tokens))

    @property
    def special_ids(self) -> list[int]:
        """Ids around a text, and those for padding and for what the vocabulary lacks."""
        around = {*self.special.single_prefix.tolist(), *self.special.single_suffix.tolist(), self.special.pad_id}
        return sorted(around | ({self.unknown_id} if self.unknown_id is not None else set()))

    @property
    def raw(self) -> Tokenizer:
        """The underlying tokenizer."""
        return self._tokenizer


def _tokens(text: str, encoding: Encoding) -> tuple[Token, ...]:
    shown = zip(encoding.ids, encoding.tokens, encoding.special_tokens_mask, encoding.offsets, strict=True)
    return tuple(
        Token(token_id, token, True, None, None)
        if is_special
        else Token(token_id, text[start:stop], False, start, stop)
        for token_id, token, is_special, (start, stop) in shown
    )


def _normalizer(stated: Normalizer | None, settings: TokenizerSettings) -> Normalizer | None:
    """What prepares a text: as tokenizer.json states, with the changes that the reference libraries make."""
    if settings.bert is not None and isinstance(stated, BertNormalizer):
        stated = BertNormalizer(
            clean_text=stated.clean_text,
            handle_chinese_chars=settings.bert.separates_chinese,
            strip_accents=settings.bert.strip_accents,
            lowercase=settings.bert.lowercase,
        )
    if not settings.lowercases:
        return stated
    steps: list[Normalizer] = [] if stated is None else [stated]
    if isinstance(stated, NormalizerSequence):
        steps = [stated[at] for at in range(len(stated))]
    return stated if any(isinstance(step, Lowercase) for step in steps) else NormalizerSequence([Lowercase(), *steps])


def _keep_whole(tokenizer: Tokenizer, markers: Iterable[str]) -> None:
    """Make markers of queries and documents that the vocabulary holds tokens of their own, wherever they stand.

    Libraries of late interaction insert them as ids; as text they would fall into pieces. The vocabulary has a marker
    with its closing space or without it, or not at all: then it is ordinary text.
    """
    for marker in markers:
        candidates = (marker, *marker.split()[:1])
        known = next((one for one in candidates if one and tokenizer.token_to_id(one) is not None), None)
        if known is not None and tokenizer.encode(known, add_special_tokens=False).tokens != [known]:
            tokenizer.add_special_tokens([AddedToken(known, normalized=False)])


def _find_pad_id(tokenizer: Tokenizer) -> int:
    for token in ("[PAD]", "<pad>", "<|padding|>"):
        found = tokenizer.token_to_id(token)
        if found is not None:
            return int(found)
    raise ModelError("the tokenizer names no padding token; set pad_token_id in config.json")


_PROBES = (
    "retry a failed request",
    "Über\n\n  f(x):\n\treturn 日本 x",
    "one, two; <b>three</b> \u0301 [4]  .",
    " a  b\nc ",
)


def _gives_the_same_in_segments(tokenizer: Tokenizer) -> bool:
    """Whether texts may be cut where words end. It is tried out, since any tokenizer may be configured."""

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    return all([id_ for part in cut_at_words(probe) for id_ in ids(part)] == ids(probe) for probe in _PROBES)


def _derive_special_tokens(tokenizer: Tokenizer, pad_id: int) -> SpecialTokens:
    """Read the special tokens off two probe encodings, since names in config files are unreliable."""
    single = tokenizer.encode("a")
    pair = tokenizer.encode("a", "a")
    content = [position for position, which in enumerate(single.sequence_ids) if which is not None]
    first = [position for position, which in enumerate(pair.sequence_ids) if which == 0]
    second = [position for position, which in enumerate(pair.sequence_ids) if which == 1]
    if not content or not first or not second:
        raise ModelError("the tokenizer drops the letter 'a': its tokenizer.json cannot be right")
    return SpecialTokens(
        single_prefix=_ids(single.ids[: content[0]]),
        single_suffix=_ids(single.ids[content[-1] + 1 :]),
        pair_prefix=_ids(pair.ids[: first[0]]),
        pair_middle=_ids(pair.ids[first[-1] + 1 : second[0]]),
        pair_suffix=_ids(pair.ids[second[-1] + 1 :]),
        pad_id=pad_id,
        has_type_ids=pair.type_ids[second[0]] == 1,
    )
