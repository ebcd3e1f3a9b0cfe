"""Tokenizers of each kind, with a few hundred entries, as `tokenizer.json` and the files around it.

The vocabularies are learned from a little of the standard library's prose and code. What matters is kept: which
special tokens there are and where they stand, normalisation, how words begin, what wraps one text and two, the class
named in `tokenizer_config.json` (transformers rebuilds a tokenizer by that class instead of reading the file).
"""

from __future__ import annotations

import json
import math
import sysconfig
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tests.support.published.layout import write_json

_CORPUS = ("textwrap.py", "statistics.py", "dataclasses.py", "argparse.py")
_LEARNED = 600
"""Entries that are learned, special tokens apart."""
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_QWEN = _LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")
NO_LIMIT = 1000000000000000019884624838656
"""What transformers writes as `model_max_length` where there is none."""


@cache
def _lines() -> tuple[str, ...]:
    stdlib = Path(sysconfig.get_path("stdlib"))
    found = (line.strip() for name in _CORPUS for line in (stdlib / name).read_text(encoding="utf-8").splitlines())
    return tuple(line for line in found if line)


# ── the learned parts ───────────────────────────────────────────────────────────────────────────────────────────────


@cache
def _word_pieces(*, lowercase: bool) -> tuple[str, ...]:
    """Pieces of BERT's kind, `##` for those inside a word."""
    learner = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    learner.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    learner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=_LEARNED, special_tokens=[], show_progress=False)
    learner.train_from_iterator(_lines(), trainer)
    # The trainer's own order differs from run to run where counts are equal.
    return tuple(sorted(learner.get_vocab()))


@cache
def _unigram_pieces() -> tuple[tuple[str, float], ...]:
    """Pieces of SentencePiece's kind with log frequencies: single characters, then what saves most of the corpus."""
    words = Counter("▁" + word for line in _lines() for word in line.split())
    counts: Counter[str] = Counter(dict.fromkeys("▁,.:;()[]{}<>=+-*/'\"!?0123456789éü日", 1))
    for word, times in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + 6, len(word)) + 1):
                counts[word[start:end]] += times
    ranked = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece] * (len(piece) - 1), piece))
    return tuple((piece, math.log(counts[piece] / counts.total())) for piece in ranked[:_LEARNED])


@cache
def _byte_pairs() -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Entries and merges over bytes."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=_LEARNED, initial_alphabet=alphabet, show_progress=False)
    learner.train_from_iterator(_lines(), trainer)
    model = json.loads(learner.to_str())["model"]
    entries = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tuple(entries), tuple((left, right) for left, right in model["merges"])


@cache
def _piece_pairs(*, leading: bool) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Entries and merges over characters with `▁` for spaces, in Llama 2's way (leading) or Gemma's."""
    learner = Tokenizer(models.BPE())
    replace = normalizers.Replace(" ", "▁")
    learner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if leading else replace
    learner.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=_LEARNED, show_progress=False)
    learner.train_from_iterator(_lines(), trainer)
    model = json.loads(learner.to_str())["model"]
    entries = sorted(model["vocab"], key=model["vocab"].__getitem__)
    return tuple(entries), tuple((left, right) for left, right in model["merges"])


# ── whole tokenizers ────────────────────────────────────────────────────────────────────────────────────────────────


def _template(tokenizer: Tokenizer, single: str, pair: str) -> processors.TemplateProcessing:
    names = {part.split(":")[0] for part in (single + " " + pair).split() if not part.startswith("$")}
    ids = [(name, tokenizer.token_to_id(name)) for name in sorted(names)]
    return processors.TemplateProcessing(single=single, pair=pair, special_tokens=ids)


def word_piece(*, lowercase: bool = True) -> Tokenizer:
    """BERT's: `[PAD]` 0, `[UNK]`, `[CLS]`, `[SEP]`, `[MASK]`; the second text of a pair has token type 1."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    unused = [f"[unused{at}]" for at in range(4)]
    entries = [*specials[:1], *unused, *specials[1:], *_word_pieces(lowercase=lowercase)]
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=lowercase
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = _template(tokenizer, "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")
    return tokenizer


def mpnet() -> Tokenizer:
    """MPNet's: BERT's pieces within RoBERTa's special tokens; unknown is `[UNK]`, though `<unk>` exists."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    entries = [*specials, *_word_pieces(lowercase=True), "[UNK]", "<mask>"]
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(entries)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([*specials, "[UNK]", AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    return tokenizer


def sentence_piece() -> Tokenizer:
    """XLM-R's: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` last; words begin with `▁`, the first one too."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*((special, 0.0) for special in specials), *_unigram_pieces(), ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens([*specials, AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = _template(tokenizer, "<s> $A </s>", "<s> $A </s> </s> $B </s>")
    return tokenizer


def deberta() -> Tokenizer:
    """DeBERTa-v3's: SentencePiece within BERT's special tokens; `[PAD]` 0, `[CLS]` 1, `[SEP]` 2, `[UNK]` 3."""
    specials = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]
    pieces = [*((special, 0.0) for special in specials), *_unigram_pieces(), ("[MASK]", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Replace("\n", " "), normalizers.Replace("\r", " "), normalizers.Replace("\t", " "),
         normalizers.NFC(), normalizers.Replace(Regex(" {2,}"), " "), normalizers.Strip()]
    )  # fmt: skip
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="always")
    tokenizer.add_special_tokens([*specials, "[MASK]"])
    tokenizer.post_processor = _template(tokenizer, "[CLS]:0 $A:0 [SEP]:0", "[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1")
    return tokenizer


def _byte_level(specials_first: list[str], specials_last: list[str], pattern: str | None) -> Tokenizer:
    """Byte-level BPE. A pattern of words replaces GPT-2's where the family has its own."""
    entries, merges = _byte_pairs()
    vocabulary = {entry: at for at, entry in enumerate([*specials_first, *entries, *specials_last])}
    tokenizer = Tokenizer(models.BPE(vocabulary, list(merges)))
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([*specials_first, *specials_last])
    return tokenizer


def roberta() -> Tokenizer:
    """RoBERTa's and BART's: `<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3, `<mask>` last."""
    tokenizer = _byte_level(["<s>", "<pad>", "</s>", "<unk>"], [], None)
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), True, False)
    return tokenizer


def modernbert() -> Tokenizer:
    """ModernBERT's: GPT-NeoX pieces, BERT's special tokens at the end."""
    tokenizer = _byte_level([], ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"], None)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.post_processor = _template(tokenizer, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]")
    return tokenizer


def qwen(*, eos: bool = False) -> Tokenizer:
    """Qwen's: no beginning; `<|endoftext|>` pads and, for embedders, ends a text."""
    tokenizer = _byte_level([], ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>"], _QWEN)
    tokenizer.normalizer = normalizers.NFC()
    for role in ("<think>", "</think>"):  # added, yet not special: shown when text is decoded
        tokenizer.add_tokens([AddedToken(role, special=False, normalized=False)])
    byte_level = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    end = "<|endoftext|>"
    tokenizer.post_processor = (
        processors.Sequence([byte_level, _template(tokenizer, f"$A:0 {end}:0", f"$A:0 {end}:0 $B:1 {end}:1")])
        if eos
        else byte_level
    )
    return tokenizer


def llama3(*, eos: str | None = None) -> Tokenizer:
    """Llama 3's and EuroBERT's: byte-level, `<|begin_of_text|>` in front; EuroBERT ends with `<|end_of_text|>`."""
    tokenizer = _byte_level([], ["<|begin_of_text|>", "<|end_of_text|>", "<|mask|>", "<|eot_id|>"], _LLAMA_3)
    byte_level = processors.ByteLevel(add_prefix_space=True, trim_offsets=False, use_regex=True)
    begin, end = "<|begin_of_text|>", f" {eos}:0" if eos else ""
    single = f"{begin}:0 $A:0{end}"
    template = _template(tokenizer, single, f"{single} {begin}:1 $B:1{end.replace(':0', ':1')}")
    tokenizer.post_processor = processors.Sequence([byte_level, template])
    return tokenizer


def _pieces_with_bytes(specials: list[str], *, leading: bool) -> Tokenizer:
    entries, merges = _piece_pairs(leading=leading)
    byte_names = [f"<0x{byte:02X}>" for byte in range(256)]
    vocabulary = {entry: at for at, entry in enumerate([*specials, *byte_names, *entries])}
    unknown = "<unk>"
    model = models.BPE(vocabulary, list(merges), unk_token=unknown, fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    replace = normalizers.Replace(" ", "▁")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace]) if leading else replace
    if not leading:
        tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    tokenizer.decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)] if leading else steps)
    tokenizer.add_special_tokens(specials)
    return tokenizer


def mistral() -> Tokenizer:
    """Llama 2's and Mistral's: `▁` before the first word, bytes for what is unknown; embedders end with `</s>`."""
    tokenizer = _pieces_with_bytes(["<unk>", "<s>", "</s>"], leading=True)
    tokenizer.post_processor = _template(tokenizer, "<s>:0 $A:0 </s>:0", "<s>:0 $A:0 </s>:0 <s>:1 $B:1 </s>:1")
    return tokenizer


def gemma(*, eos: bool) -> Tokenizer:
    """Gemma's: `<pad>` 0, `<eos>` 1, `<bos>` 2, `<unk>` 3; no `▁` before the first word. Embedders end with `<eos>`."""
    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"]
    tokenizer = _pieces_with_bytes(specials, leading=False)
    end, other = (" <eos>:0", " <eos>:1") if eos else ("", "")
    tokenizer.post_processor = _template(tokenizer, f"<bos>:0 $A:0{end}", f"<bos>:0 $A:0{end} <bos>:1 $B:1{other}")
    return tokenizer


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_tokenizer(folder: Path, tokenizer: Tokenizer, tokenizer_class: str, **config: Any) -> int:
    """`tokenizer.json`, `tokenizer_config.json` and `special_tokens_map.json`; the number of entries.

    Args:
        folder: the checkpoint.
        tokenizer: of any kind above.
        tokenizer_class: the class that the published file names.
        config: the rest of `tokenizer_config.json`: `model_max_length`, `pad_token` and the other names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {key: value for key, value in config.items() if key.endswith("_token") and isinstance(value, str)}
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": tokenizer_class, **config})
    write_json(folder / "special_tokens_map.json", names)
    return max(tokenizer.get_vocab().values()) + 1


BERT_NAMES = {
    "pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
}  # fmt: skip
ROBERTA_NAMES = {
    "bos_token": "<s>", "eos_token": "</s>", "cls_token": "<s>", "sep_token": "</s>", "unk_token": "<unk>",
    "pad_token": "<pad>", "mask_token": "<mask>",
}  # fmt: skip


def write_bert_tokenizer(folder: Path, *, lowercase: bool = True, limit: int = 512, cut_at: int | None = None) -> int:
    """BERT's, as published; `cut_at` bakes truncation and padding into `tokenizer.json`, as many files have it."""
    tokenizer = word_piece(lowercase=lowercase)
    if cut_at is not None:
        tokenizer.enable_truncation(cut_at)
        tokenizer.enable_padding(length=cut_at, pad_id=0, pad_token="[PAD]")
    return write_tokenizer(
        folder, tokenizer, "BertTokenizer", do_lower_case=lowercase, model_max_length=limit, strip_accents=None,
        tokenize_chinese_chars=True, clean_up_tokenization_spaces=True, **BERT_NAMES,
    )  # fmt: skip


def write_xlm_r_tokenizer(folder: Path, *, limit: int = 512) -> int:
    """XLM-R's, as published."""
    return write_tokenizer(
        folder, sentence_piece(), "XLMRobertaTokenizer", model_max_length=limit, clean_up_tokenization_spaces=True,
        **ROBERTA_NAMES,
    )  # fmt: skip


def write_modernbert_tokenizer(folder: Path, *, limit: int = 8192) -> int:
    """ModernBERT's, as published."""
    inputs = ["input_ids", "attention_mask"]
    return write_tokenizer(
        folder, modernbert(), "PreTrainedTokenizerFast", model_max_length=limit, model_input_names=inputs,
        clean_up_tokenization_spaces=True, **BERT_NAMES,
    )  # fmt: skip


def write_qwen_tokenizer(folder: Path, *, eos: bool = False, limit: int = 131072, **config: Any) -> int:
    """Qwen's, as published: padding on the left, which this project replaces by padding on the right."""
    return write_tokenizer(
        folder, qwen(eos=eos), "Qwen2Tokenizer", model_max_length=limit, padding_side="left", bos_token=None,
        eos_token="<|endoftext|>" if eos else "<|im_end|>", pad_token="<|endoftext|>", unk_token=None,
        add_bos_token=False, add_prefix_space=False, errors="replace", split_special_tokens=False,
        clean_up_tokenization_spaces=False, **config,
    )  # fmt: skip
