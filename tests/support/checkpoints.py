"""Writes checkpoints of the three flagship shapes with seeded random weights.

No hub is needed. The files have the layout, key names and (at ``--size full``) the exact tensor shapes of
``nomic-embed-text-v2-moe``, ``bge-reranker-base`` and ``ModernBERT-large-zeroshot-v2.0``, so that loaders, converters
and benchmarks see the same files as in production. ``--size tiny`` keeps every structural trait (MoE on odd layers,
global/local attention pattern, special tokens, pad ids) at a size that a unit test loads at once.

The tokenizers are built from the source text of the standard library. At full size their vocabularies are filled up to
the true number of entries, since benchmarks include a tokenizer's memory and load time.

The models' answers mean nothing. Only shapes, costs and numerics are those of the real models.

Usage: ``python -m tests.support.checkpoints --size tiny --out DIR [--kind KIND …] [--seed 0]``
"""

from __future__ import annotations

import json
import math
import string
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

Kind = Literal["nomic-embed-text-v2-moe", "bge-reranker-base", "ModernBERT-large-zeroshot-v2.0"]
Size = Literal["tiny", "full"]
Role = Literal["embedding", "linear", "query_key", "head", "bias", "norm_weight"]

KINDS: tuple[Kind, ...] = get_args(Kind)
SIZES: tuple[Size, ...] = get_args(Size)

# Standard deviation of a matrix is gain / sqrt(fan_in). Queries and keys are larger so that attention logits
# have a standard deviation near 2: visibly peaked, not one-hot. (With a flat 0.02, attention would be almost uniform,
# and the effect of a mistake in masks or rotary angles would be lost in rounding.)
_GAIN: dict[Role, float] = {"linear": 0.6, "query_key": 1.4, "head": 1.5}
_EMBEDDING_STD = 0.1
_BIAS_STD = 0.05
_NORM_STD = 0.1

# Files of the standard library that the tokenizers learn from: English prose and Python.
_CORPUS = (
    "argparse.py", "dataclasses.py", "datetime.py", "difflib.py", "doctest.py", "inspect.py", "mailbox.py",
    "optparse.py", "pathlib.py", "pdb.py", "pickletools.py", "statistics.py", "tarfile.py", "typing.py",
    "asyncio/base_events.py", "collections/__init__.py", "email/message.py", "logging/__init__.py",
)  # fmt: skip


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a checkpoint: published key, shape, role (which sets the distribution) and fan-in."""

    key: str
    shape: tuple[int, ...]
    role: Role
    fan_in: int = 0


def write_checkpoint(kind: Kind, size: Size, out_dir: Path, seed: int = 0) -> Path:
    """Write one checkpoint into ``out_dir`` (created if missing) and return ``out_dir``.

    The same (kind, size, seed) gives the same weights on every machine.

    Raises:
        ValueError: ``kind`` or ``size`` is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}; known: {', '.join(KINDS)}")
    if size not in SIZES:
        raise ValueError(f"unknown size {size!r}; known: {', '.join(SIZES)}")
    out_dir.mkdir(parents=True, exist_ok=True)
    if kind == "nomic-embed-text-v2-moe":
        config = _nomic_config(size)
        specs = _nomic_tensors(config)
        _write_sentence_transformers_files(out_dir, hidden_size=config["n_embd"])
        _write_xlm_r_tokenizer(out_dir, _unigram_tokenizer(piece_count=250_002 if size == "full" else 1_000))
    elif kind == "bge-reranker-base":
        config = _bge_config(size)
        specs = _bge_tensors(config)
        _write_xlm_r_tokenizer(out_dir, _unigram_tokenizer(piece_count=config["vocab_size"]))
    else:
        config = _modernbert_config(size)
        specs = _modernbert_tensors(config)
        _write_modernbert_tokenizer(out_dir, _byte_bpe_tokenizer(first_special_id=config["bos_token_id"] - 1))
    _write_json(out_dir / "config.json", config)
    rng = np.random.Generator(np.random.PCG64(seed))
    tensors = {spec.key: _draw(spec, rng) for spec in specs}
    save_file(tensors, out_dir / "model.safetensors", metadata={"format": "pt"})
    return out_dir


def _draw(spec: TensorSpec, rng: np.random.Generator) -> NDArray[np.float32]:
    noise = rng.standard_normal(spec.shape, dtype=np.float32)
    if spec.role == "norm_weight":
        return 1.0 + np.float32(_NORM_STD) * noise
    if spec.role == "bias":
        return np.float32(_BIAS_STD) * noise
    if spec.role == "embedding":
        return np.float32(_EMBEDDING_STD) * noise
    noise *= np.float32(_GAIN[spec.role] / np.sqrt(spec.fan_in))
    return noise


def _linear(key: str, out_size: int, in_size: int, *, bias: bool, role: Role = "linear") -> Iterator[TensorSpec]:
    yield TensorSpec(f"{key}.weight", (out_size, in_size), role, fan_in=in_size)
    if bias:
        yield TensorSpec(f"{key}.bias", (out_size,), "bias")


def _norm(key: str, size: int, *, bias: bool = True) -> Iterator[TensorSpec]:
    yield TensorSpec(f"{key}.weight", (size,), "norm_weight")
    if bias:
        yield TensorSpec(f"{key}.bias", (size,), "bias")


# ── nomic-embed-text-v2-moe ─────────────────────────────────────────────────────────────────────────────────


def _nomic_config(size: Size) -> dict[str, Any]:
    full = size == "full"
    return {
        "activation_function": "gelu",
        "architectures": ["NomicBertModel"],
        "attn_pdrop": 0.0,
        "auto_map": {
            "AutoConfig": "nomic-ai/nomic-bert-2048--configuration_hf_nomic_bert.NomicBertConfig",
            "AutoModel": "nomic-ai/nomic-bert-2048--modeling_hf_nomic_bert.NomicBertModel",
        },
        "bos_token_id": 0,
        "causal": False,
        "dense_seq_output": True,
        "embd_pdrop": 0.1,
        "eos_token_id": 2,
        "expert_choice_router": False,
        "ffn_div": 1,
        "fused_bias_fc": True,
        "fused_dropout_add_ln": True,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "max_trained_positions": 2048,
        "mlp_fc1_bias": True,
        "mlp_fc2_bias": True,
        "model_type": "nomic_bert",
        "moe_every_n_layers": 2,
        "moe_impl": "megablocks",
        "moe_normalize_expert_weights": False,
        "moe_resid_pdrop": 0.0,
        "moe_top_k": 2,
        "n_embd": 768 if full else 64,
        "n_head": 12 if full else 4,
        "n_inner": 3072 if full else 128,
        "n_layer": 12 if full else 4,
        "n_positions": 2048,
        "num_experts": 8,
        "num_shared_experts": 0,
        "pad_token_id": 1,
        "pad_vocab_size_multiple": 64,
        "parallel_block": False,
        "parallel_block_tied_norm": False,
        "prenorm": False,
        "qkv_proj_bias": True,
        "resid_pdrop": 0.0,
        "rotary_emb_base": 10000,
        "rotary_emb_fraction": 1.0,
        "rotary_emb_interleaved": False,
        "rotary_emb_scale_base": None,
        "rotary_scaling_factor": None,
        "scale_attn_by_inverse_layer_idx": False,
        "scale_attn_weights": True,
        "torch_dtype": "float32",
        "type_vocab_size": 1,
        "use_cache": True,
        "use_flash_attn": True,
        "use_rms_norm": False,
        "use_xentropy": True,
        "vocab_size": 250_048 if full else 1_024,
    }


def _nomic_tensors(config: dict[str, Any]) -> Iterator[TensorSpec]:
    hidden, inner, experts = config["n_embd"], config["n_inner"], config["num_experts"]
    yield TensorSpec("embeddings.word_embeddings.weight", (config["vocab_size"], hidden), "embedding")
    yield TensorSpec("embeddings.token_type_embeddings.weight", (1, hidden), "embedding")
    yield from _norm("emb_ln", hidden)
    for i in range(config["n_layer"]):
        layer = f"encoder.layers.{i}"
        yield from _linear(f"{layer}.attn.Wqkv", 3 * hidden, hidden, bias=True, role="query_key")
        yield from _linear(f"{layer}.attn.out_proj", hidden, hidden, bias=True)
        yield from _norm(f"{layer}.norm1", hidden)
        yield from _norm(f"{layer}.norm2", hidden)
        if i % config["moe_every_n_layers"] == 1:
            yield from _linear(f"{layer}.mlp.router.layer", experts, hidden, bias=False, role="head")
            yield TensorSpec(f"{layer}.mlp.experts.mlp.w1", (experts * inner, hidden), "linear", fan_in=hidden)
            yield TensorSpec(f"{layer}.mlp.experts.mlp.w2", (experts * inner, hidden), "linear", fan_in=inner)
            yield TensorSpec(f"{layer}.mlp.experts.bias", (hidden,), "bias")
        else:
            yield from _linear(f"{layer}.mlp.fc1", inner, hidden, bias=True)
            yield from _linear(f"{layer}.mlp.fc2", hidden, inner, bias=True)


def _write_sentence_transformers_files(out_dir: Path, hidden_size: int) -> None:
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    pooling = {
        "word_embedding_dimension": hidden_size,
        "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False,
        "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": False,
        "include_prompt": True,
    }
    prompts = {"query": "search_query: ", "passage": "search_document: "}
    sentence = {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    _write_json(out_dir / "modules.json", modules)
    (out_dir / "1_Pooling").mkdir(exist_ok=True)
    _write_json(out_dir / "1_Pooling" / "config.json", pooling)
    (out_dir / "2_Normalize").mkdir(exist_ok=True)
    _write_json(out_dir / "config_sentence_transformers.json", sentence)
    _write_json(out_dir / "sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})


# ── bge-reranker-base ───────────────────────────────────────────────────────────────────────────────────────


def _bge_config(size: Size) -> dict[str, Any]:
    full = size == "full"
    return {
        "architectures": ["XLMRobertaForSequenceClassification"],
        "attention_probs_dropout_prob": 0.1,
        "bos_token_id": 0,
        "classifier_dropout": None,
        "eos_token_id": 2,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "hidden_size": 768 if full else 64,
        "id2label": {"0": "LABEL_0"},
        "initializer_range": 0.02,
        "intermediate_size": 3072 if full else 128,
        "label2id": {"LABEL_0": 0},
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 514,
        "model_type": "xlm-roberta",
        "num_attention_heads": 12 if full else 4,
        "num_hidden_layers": 12 if full else 3,
        "output_past": True,
        "pad_token_id": 1,
        "position_embedding_type": "absolute",
        "torch_dtype": "float32",
        "type_vocab_size": 1,
        "use_cache": True,
        "vocab_size": 250_002 if full else 1_000,
    }


def _bge_tensors(config: dict[str, Any]) -> Iterator[TensorSpec]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    embeddings = "roberta.embeddings"
    yield TensorSpec(f"{embeddings}.word_embeddings.weight", (config["vocab_size"], hidden), "embedding")
    positions = (config["max_position_embeddings"], hidden)
    yield TensorSpec(f"{embeddings}.position_embeddings.weight", positions, "embedding")
    yield TensorSpec(f"{embeddings}.token_type_embeddings.weight", (1, hidden), "embedding")
    yield from _norm(f"{embeddings}.LayerNorm", hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"roberta.encoder.layer.{i}"
        yield from _linear(f"{layer}.attention.self.query", hidden, hidden, bias=True, role="query_key")
        yield from _linear(f"{layer}.attention.self.key", hidden, hidden, bias=True, role="query_key")
        yield from _linear(f"{layer}.attention.self.value", hidden, hidden, bias=True)
        yield from _linear(f"{layer}.attention.output.dense", hidden, hidden, bias=True)
        yield from _norm(f"{layer}.attention.output.LayerNorm", hidden)
        yield from _linear(f"{layer}.intermediate.dense", inner, hidden, bias=True)
        yield from _linear(f"{layer}.output.dense", hidden, inner, bias=True)
        yield from _norm(f"{layer}.output.LayerNorm", hidden)
    yield from _linear("classifier.dense", hidden, hidden, bias=True)
    yield from _linear("classifier.out_proj", 1, hidden, bias=True, role="head")


# ── ModernBERT-large-zeroshot-v2.0 ──────────────────────────────────────────────────────────────────────────


def _modernbert_config(size: Size) -> dict[str, Any]:
    full = size == "full"
    first_special_id = 50_280 if full else 1_000
    return {
        "architectures": ["ModernBertForSequenceClassification"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": first_special_id + 1,
        "classifier_activation": "gelu",
        "classifier_bias": False,
        "classifier_dropout": 0.0,
        "classifier_pooling": "mean",
        "cls_token_id": first_special_id + 1,
        "decoder_bias": True,
        "deterministic_flash_attn": False,
        "embedding_dropout": 0.0,
        "eos_token_id": first_special_id + 2,
        "global_attn_every_n_layers": 3,
        "global_rope_theta": 160000.0,
        "gradient_checkpointing": False,
        "hidden_activation": "gelu",
        "hidden_size": 1024 if full else 64,
        "id2label": {"0": "entailment", "1": "not_entailment"},
        "initializer_cutoff_factor": 2.0,
        "initializer_range": 0.02,
        "intermediate_size": 2624 if full else 96,
        "label2id": {"entailment": 0, "not_entailment": 1},
        "layer_norm_eps": 1e-05,
        "local_attention": 128,
        "local_rope_theta": 10000.0,
        "max_position_embeddings": 8192,
        "mlp_bias": False,
        "mlp_dropout": 0.0,
        "model_type": "modernbert",
        "norm_bias": False,
        "norm_eps": 1e-05,
        "num_attention_heads": 16 if full else 4,
        "num_hidden_layers": 28 if full else 4,
        "pad_token_id": first_special_id + 3,
        "position_embedding_type": "absolute",
        "problem_type": "single_label_classification",
        "sep_token_id": first_special_id + 2,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "vocab_size": 50_368 if full else 1_024,
    }


def _modernbert_tensors(config: dict[str, Any]) -> Iterator[TensorSpec]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    yield TensorSpec("model.embeddings.tok_embeddings.weight", (config["vocab_size"], hidden), "embedding")
    yield from _norm("model.embeddings.norm", hidden, bias=False)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        if i > 0:  # layer 0 reads the embeddings' own norm
            yield from _norm(f"{layer}.attn_norm", hidden, bias=False)
        yield from _linear(f"{layer}.attn.Wqkv", 3 * hidden, hidden, bias=False, role="query_key")
        yield from _linear(f"{layer}.attn.Wo", hidden, hidden, bias=False)
        yield from _norm(f"{layer}.mlp_norm", hidden, bias=False)
        yield from _linear(f"{layer}.mlp.Wi", 2 * inner, hidden, bias=False)
        yield from _linear(f"{layer}.mlp.Wo", hidden, inner, bias=False)
    yield from _norm("model.final_norm", hidden, bias=False)
    yield from _linear("head.dense", hidden, hidden, bias=False)
    yield from _norm("head.norm", hidden, bias=False)
    yield from _linear("classifier", len(config["id2label"]), hidden, bias=True, role="head")


# ── tokenizers ──────────────────────────────────────────────────────────────────────────────────────────────


def _corpus_lines() -> list[str]:
    stdlib = Path(sysconfig.get_path("stdlib"))
    return [
        line.strip()
        for name in _CORPUS
        for file in _sources(stdlib / name)
        for line in file.read_text(encoding="utf-8").splitlines()
        if line.strip()
    ]


def _sources(module: Path) -> list[Path]:
    """The files of a module, which a later Python may have made a package."""
    return [module] if module.is_file() else sorted(module.with_suffix("").glob("*.py"))


def _filler_words(count: int, taken: set[str]) -> list[str]:
    """Yield distinct pronounceable words that no text contains, to fill a vocabulary up to its true size."""
    onsets = ("qz", "vx", "zj", "xk", "jq", "wv", "kx", "gq", "pz", "bx", "fq", "mx")
    vowels = ("a", "e", "i", "o", "u", "y")
    syllables = [onset + vowel for onset in onsets for vowel in vowels]  # 72; three give 373,248
    words: list[str] = []
    for first in syllables:
        for second in syllables:
            for third in syllables:
                if len(words) == count:
                    return words
                word = first + second + third
                if word not in taken:
                    words.append(word)
    raise ValueError(f"{count} filler words asked, {len(words)} exist")


@cache
def _substring_counts() -> Counter[str]:
    """Count the corpus's word-internal substrings of at most 7 characters."""
    words = Counter("▁" + word for line in _corpus_lines() for word in line.split())
    counts: Counter[str] = Counter(dict.fromkeys(string.printable.strip(), 1))
    for word, times in words.items():
        for start in range(len(word)):
            for end in range(start + 1, min(start + 7, len(word)) + 1):
                counts[word[start:end]] += times
    return counts


def _frequent_pieces(count: int) -> list[tuple[str, float]]:
    """Return all single characters, then the substrings that shorten the corpus most, with log frequencies.

    A plain count instead of the EM training of a real Unigram model: deterministic, and done in a second.
    """
    counts = _substring_counts()
    total = counts.total()
    ranked = sorted(counts, key=lambda piece: (len(piece) > 1, -counts[piece] * (len(piece) - 1), piece))
    return [(piece, math.log(counts[piece] / total)) for piece in ranked[:count]]


def _unigram_tokenizer(piece_count: int) -> Tokenizer:
    """Build an XLM-R style tokenizer: ``<s>`` 0, ``<pad>`` 1, ``</s>`` 2, ``<unk>`` 3 … ``<mask>`` last."""
    specials = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [(special, 0.0) for special in specials]
    pieces += _frequent_pieces(min(piece_count, 8_000) - len(specials) - 1)
    fillers = _filler_words(piece_count - 1 - len(pieces), taken={piece for piece, _ in pieces})
    pieces += [(word, -30.0) for word in fillers]
    pieces.append(("<mask>", 0.0))

    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens([*specials, "<mask>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


def _byte_bpe_tokenizer(first_special_id: int) -> Tokenizer:
    """Build a ModernBERT style tokenizer: byte-level BPE, then ``[UNK] [CLS] [SEP] [PAD] [MASK]`` at the end."""
    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=min(first_special_id, 8_000),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(_corpus_lines(), trainer)
    model = json.loads(learner.to_str())["model"]
    vocab: dict[str, int] = model["vocab"]
    merges = [(left, right) for left, right in model["merges"]]
    for word in _filler_words(first_special_id - len(vocab), taken=set(vocab)):
        vocab[word] = len(vocab)
    specials = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    for special in specials:
        vocab[special] = len(vocab)

    tokenizer = Tokenizer(models.BPE(vocab, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = learner.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(specials)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[("[CLS]", vocab["[CLS]"]), ("[SEP]", vocab["[SEP]"])],
    )
    return tokenizer


def _write_xlm_r_tokenizer(out_dir: Path, tokenizer: Tokenizer) -> None:
    names = {
        "bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>",
        "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>",
    }  # fmt: skip
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}
    _write_tokenizer(out_dir, tokenizer, config, names)


def _write_modernbert_tokenizer(out_dir: Path, tokenizer: Tokenizer) -> None:
    names = {
        "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]", "pad_token": "[PAD]",
        "mask_token": "[MASK]",
    }  # fmt: skip
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 8192}
    _write_tokenizer(out_dir, tokenizer, config, names)


def _write_tokenizer(
    out_dir: Path, tokenizer: Tokenizer, config: dict[str, Any], special_tokens: dict[str, str]
) -> None:
    tokenizer.save(str(out_dir / "tokenizer.json"), pretty=False)
    inputs = {"model_input_names": ["input_ids", "attention_mask"], "clean_up_tokenization_spaces": False}
    _write_json(out_dir / "tokenizer_config.json", {**config, **special_tokens, **inputs})
    _write_json(out_dir / "special_tokens_map.json", special_tokens)


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
