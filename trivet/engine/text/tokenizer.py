"""Turns texts into token ids, without cutting or padding.

It needs the `tokenizers` library alone; a serving process does not import transformers. Special tokens are kept apart
from content, because they are added to each window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from tokenizers.normalizers import BertNormalizer, Lowercase, Normalizer
from tokenizers.normalizers import Sequence as NormalizerSequence

from trivet.checkpoint.tokenizer_settings import TokenizerSettings
from trivet.engine.text.segments import batches, segments
from trivet.errors import ModelError
from trivet.messages import Token

Ids = NDArray[np.int32]


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


class TooManyTokens(Exception):
    """Texts have more tokens than one request may have."""


class TextTokenizer:
    """A model's tokenizer.json, with the truncation and padding that it prescribes switched off."""

    def __init__(self, tokenizer: Tokenizer, *, pad_id: int | None = None) -> None:
        padding = tokenizer.padding
        if pad_id is None:
            pad_id = int(padding["pad_id"]) if padding else _find_pad_id(tokenizer)
        # Many published files cut at 128 tokens and pad to it: a silent loss that no caller asked for.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self.special = _derive_special_tokens(tokenizer, pad_id)
        self._cuts = _gives_the_same_in_segments(tokenizer)

    @classmethod
    def from_dir(cls, path: Path, *, pad_id: int | None = None) -> Self:
        """Load `tokenizer.json` from a model directory. Raises `ModelError` if there is none."""
        file = path / "tokenizer.json"
        if not file.is_file():
            raise ModelError(f"{file} is missing: Trivet reads tokenizers in the tokenizer.json format only")
        settings = TokenizerSettings.read(path)
        tokenizer = Tokenizer.from_file(str(file))
        tokenizer.normalizer = _normalizer(tokenizer.normalizer, settings)
        if pad_id is None and not tokenizer.padding:
            known = (tokenizer.token_to_id(token) for token in settings.padding_tokens)
            pad_id = next((int(found) for found in known if found is not None), None)
        return cls(tokenizer, pad_id=pad_id)

    def encode(self, texts: Sequence[str], *, most_tokens: int | None = None) -> list[Ids]:
        """Return the ids of each text, without special tokens. Long texts are tokenised in segments.

        Raises:
            TooManyTokens: there are more than `most_tokens`; the remaining texts have not been tokenised.
        """
        segments_of = [segments(text) if self._cuts else [text] for text in texts]
        found: list[Ids] = []
        taken = 0
        for batch in batches(segment for of_text in segments_of for segment in of_text):
            found += [_ids(one.ids) for one in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False)]
            taken += sum(len(ids) for ids in found[-len(batch) :])
            if most_tokens is not None and taken > most_tokens:
                raise TooManyTokens
        ids = iter(found)
        return [np.concatenate([next(ids) for _ in of_text]) for of_text in segments_of]

    def tokens(self, texts: Sequence[str], *, add_special_tokens: bool) -> list[tuple[Token, ...]]:
        """Return each text as tokens with their character ranges, in human-readable form."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=add_special_tokens)
        return [_tokens(text, encoding) for text, encoding in zip(texts, encodings, strict=True)]

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
    """Whether texts may be cut as `segments` does. It is tried out, since any tokenizer may be configured."""
    return all(
        [id_ for segment in segments(probe, 1) for id_ in tokenizer.encode(segment, add_special_tokens=False).ids]
        == tokenizer.encode(probe, add_special_tokens=False).ids
        for probe in _PROBES
    )


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
