"""Decoders as embedders: Qwen3-Embedding, gte-Qwen2, e5-mistral, nemotron (Llama), voyage-4-nano, EmbeddingGemma."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from tests.support.published.layout import (
    write_dense,
    write_json,
    write_modules,
    write_pooling,
    write_sentence_transformer,
    write_versions,
)
from tests.support.published.vocabularies import gemma, llama3, mistral, write_qwen_tokenizer, write_tokenizer
from tests.support.published.weights import ATTENTION, Weights

INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder, and what its family has that others lack."""

    hidden: int = 64
    inner: int = 96
    layers: int = 3
    heads: int = 4
    key_value_heads: int = 2
    head_size: int = 16
    biased: bool = False
    """Qwen2: queries, keys and values have biases."""
    normed: bool = False
    """Qwen3 and Gemma 3: queries and keys are normed by head."""
    gemma3: bool = False
    """A norm after attention and after the feed-forward block, besides those before."""
    around: float = 1.0
    """What norm scales lie around: 0 for Gemma, which adds 1."""

    def config(self, **more: Any) -> dict[str, Any]:
        """The fields that every decoder's config.json has."""
        return {
            "attention_dropout": 0.0,
            "hidden_size": self.hidden,
            "initializer_range": 0.02,
            "intermediate_size": self.inner,
            "num_attention_heads": self.heads,
            "num_hidden_layers": self.layers,
            "num_key_value_heads": self.key_value_heads,
            "use_cache": True,
            **more,
        }


QWEN3 = Shape(head_size=32, normed=True)
"""As published: heads together are wider than the hidden size."""
QWEN2 = Shape(biased=True)
GEMMA3 = Shape(hidden=96, layers=4, heads=3, key_value_heads=1, head_size=32, normed=True, gemma3=True, around=0.0)


def decoder(weights: Weights, shape: Shape, entries: int) -> None:
    """Tensors of a decoder below the prefix: none, or `model.`."""
    weights.embedding("embed_tokens", entries, shape.hidden, 0.3 if shape.around else 0.3 / shape.hidden**0.5)
    queries, keys = shape.heads * shape.head_size, shape.key_value_heads * shape.head_size
    for at in range(shape.layers):
        layer = f"layers.{at}"
        for name, size, gain in (("q", queries, ATTENTION), ("k", keys, ATTENTION), ("v", keys, 1.0)):
            weights.linear(f"{layer}.self_attn.{name}_proj", size, shape.hidden, bias=shape.biased, gain=gain)
        weights.linear(f"{layer}.self_attn.o_proj", shape.hidden, queries, bias=False)
        if shape.normed:
            weights.norm(f"{layer}.self_attn.q_norm", shape.head_size, bias=False, around=shape.around)
            weights.norm(f"{layer}.self_attn.k_norm", shape.head_size, bias=False, around=shape.around)
        weights.linear(f"{layer}.mlp.gate_proj", shape.inner, shape.hidden, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.up_proj", shape.inner, shape.hidden, bias=False, gain=1.0)
        weights.linear(f"{layer}.mlp.down_proj", shape.hidden, shape.inner, bias=False)
        names = ["input_layernorm", "post_attention_layernorm"]
        if shape.gemma3:
            names += ["pre_feedforward_layernorm", "post_feedforward_layernorm"]
        for name in names:
            weights.norm(f"{layer}.{name}", shape.hidden, bias=False, around=shape.around)
    weights.norm("norm", shape.hidden, bias=False, around=shape.around)


# ── Qwen ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def qwen3_config(entries: int, end: int, **more: Any) -> dict[str, Any]:
    """`config.json` of Qwen3; it names no padding token."""
    return QWEN3.config(
        **{
            "architectures": ["Qwen3ForCausalLM"],
            "attention_bias": False,
            "bos_token_id": end,
            "eos_token_id": end,
            "head_dim": QWEN3.head_size,
            "hidden_act": "silu",
            "max_position_embeddings": 32768,
            "max_window_layers": QWEN3.layers,
            "model_type": "qwen3",
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "transformers_version": "4.51.3",
            "use_sliding_window": False,
            "vocab_size": entries,
            **more,
        }
    )


def _end_of_qwen(folder: Path) -> int:
    return int(Tokenizer.from_file(str(folder / "tokenizer.json")).token_to_id("<|endoftext|>"))


def write_qwen3_embedding(folder: Path, **more: Any) -> None:
    """Qwen3-Embedding-0.6B: last token (`<|endoftext|>`), Normalize, an instruction for queries, bf16, no limit of
    sentence-transformers' own."""
    entries = write_qwen_tokenizer(folder, eos=True)
    write_json(folder / "config.json", qwen3_config(entries, _end_of_qwen(folder), **more))
    weights = Weights(101)
    decoder(weights, QWEN3, entries)
    weights.save(folder, torch.bfloat16)
    prompts = {"query": INSTRUCTION, "document": ""}
    write_sentence_transformer(folder, width=QWEN3.hidden, pooling="lasttoken", max_seq_length=None, prompts=prompts)


def write_qwen3_bidirectional(folder: Path) -> None:
    """Qwen3 with `use_bidirectional_attention: true`, which transformers knows for Gemma alone."""
    write_qwen3_embedding(folder, use_bidirectional_attention=True, pad_token_id=0)


def write_qwen3_not_causal(folder: Path) -> None:
    """Qwen3 with `is_causal: false`, which transformers 5 heeds."""
    write_qwen3_embedding(folder, is_causal=False, pad_token_id=0)


def write_qwen3_padded(folder: Path) -> None:
    """Qwen3-Embedding whose config.json names a padding token, as fine-tuned ones do (F2LLM, harrier)."""
    write_qwen3_embedding(folder, pad_token_id=0)


def write_causal_without_modules(folder: Path) -> None:
    """A causal model without `modules.json`: sentence-transformers takes the last token, not the mean."""
    write_qwen3_padded(folder)
    for file in ("modules.json", "config_sentence_transformers.json"):
        (folder / file).unlink()


def write_gte_qwen2(folder: Path) -> None:
    """gte-Qwen2-1.5B-instruct: remote code, `is_causal: false`, last token, fp32."""
    remote = {
        "auto_map": {"AutoTokenizer": ["tokenization_qwen.Qwen2Tokenizer", "tokenization_qwen.Qwen2TokenizerFast"]}
    }
    entries = write_qwen_tokenizer(folder, eos=True, limit=32768, add_eos_token=True, **remote)
    end = _end_of_qwen(folder)
    code = "modeling_qwen."
    config = QWEN2.config(
        architectures=["Qwen2ForCausalLM"], bos_token_id=end, eos_token_id=end, hidden_act="silu", is_causal=False,
        auto_map={"AutoModel": f"{code}Qwen2Model", "AutoModelForCausalLM": f"{code}Qwen2ForCausalLM",
                  "AutoModelForSequenceClassification": f"{code}Qwen2ForSequenceClassification"},
        max_position_embeddings=131072, max_window_layers=21, model_type="qwen2", rms_norm_eps=1e-06,
        rope_theta=1000000.0, sliding_window=131072, tie_word_embeddings=False, torch_dtype="float32",
        use_sliding_window=False, vocab_size=entries,
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(102)
    decoder(weights, QWEN2, entries)
    weights.save(folder)
    write_sentence_transformer(
        folder, width=QWEN2.hidden, pooling="lasttoken", max_seq_length=32768, prompts={"query": f"{INSTRUCTION} "}
    )


def write_voyage_nano(folder: Path) -> None:
    """voyage-4-nano: Qwen3 without causality, mean, and a projection named `linear` among the encoder's tensors."""
    entries = write_qwen_tokenizer(folder, eos=False, limit=32768)
    config = qwen3_config(
        entries, _end_of_qwen(folder), architectures=["VoyageQwen3BidirectionalEmbedModel"], num_labels=96,
        auto_map={"AutoModel": "modeling_qwen3_bidirectional.VoyageQwen3BidirectionalEmbedModel"},
        use_bidirectional_attention=True, pad_token_id=_end_of_qwen(folder),
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(103, prefix="model.")
    decoder(weights, QWEN3, entries)
    weights.prefix = ""
    weights.linear("linear", 96, QWEN3.hidden, bias=False)
    weights.save(folder, torch.bfloat16)
    write_sentence_transformer(folder, width=96, pooling="mean", max_seq_length=32768)


def write_pplx_embed(folder: Path) -> None:
    """pplx-embed-v1-0.6b: a model_type and a quantising module of its own code."""
    entries = write_qwen_tokenizer(folder, eos=False, limit=32768)
    config = qwen3_config(
        entries, _end_of_qwen(folder), architectures=["PPLXQwen3Model"], model_type="bidirectional_pplx_qwen3",
        auto_map={"AutoConfig": "configuration.PPLXQwen3Config", "AutoModel": "modeling.PPLXQwen3Model"},
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(104)
    decoder(weights, QWEN3, entries)
    weights.save(folder)
    write_sentence_transformer(folder, width=QWEN3.hidden, pooling="mean", normalize=False, max_seq_length=32768)
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "", "type": "st_quantize.FlexibleQuantizer"},
    ]
    write_json(folder / "modules.json", modules)


# ── Llama and Mistral ───────────────────────────────────────────────────────────────────────────────────────────────


def write_e5_mistral(folder: Path) -> None:
    """e5-mistral-7b-instruct: last token (`</s>`), Normalize, sliding layers, fp16, `</s>` pads."""
    shape = Shape()
    entries = write_tokenizer(
        folder, mistral(), "LlamaTokenizer", model_max_length=32768, bos_token="<s>", eos_token="</s>",
        unk_token="<unk>", pad_token="</s>", add_bos_token=True, add_eos_token=True, legacy=True,
        clean_up_tokenization_spaces=False, use_default_system_prompt=False,
    )  # fmt: skip
    config = shape.config(
        architectures=["MistralModel"], bos_token_id=1, eos_token_id=2, pad_token_id=2, hidden_act="silu",
        max_position_embeddings=32768, model_type="mistral", rms_norm_eps=1e-05, rope_theta=10000.0,
        sliding_window=96, tie_word_embeddings=False, torch_dtype="float16", vocab_size=entries,
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(105)
    decoder(weights, shape, entries)
    weights.save(folder, torch.float16)
    write_sentence_transformer(
        folder, width=shape.hidden, pooling="lasttoken", max_seq_length=4096,
        prompts={"web_search_query": f"{INSTRUCTION} ", "sts_query": "Instruct: Retrieve similar text\nQuery: "},
    )  # fmt: skip


def write_llama_embedder(folder: Path) -> None:
    """A plain Llama 3 embedder: causal, last token; `<|end_of_text|>` is not appended."""
    shape = Shape()
    tokenizer = llama3()
    begin, end = (tokenizer.token_to_id(token) for token in ("<|begin_of_text|>", "<|end_of_text|>"))
    entries = write_tokenizer(
        folder, tokenizer, "PreTrainedTokenizerFast", model_max_length=131072, bos_token="<|begin_of_text|>",
        eos_token="<|end_of_text|>", pad_token="<|end_of_text|>", clean_up_tokenization_spaces=True,
        model_input_names=["input_ids", "attention_mask"],
    )  # fmt: skip
    config = shape.config(
        architectures=["LlamaForCausalLM"], attention_bias=False, bos_token_id=begin, eos_token_id=end,
        head_dim=shape.head_size, hidden_act="silu", max_position_embeddings=131072, mlp_bias=False,
        model_type="llama", pretraining_tp=1, rms_norm_eps=1e-05, rope_theta=500000.0, tie_word_embeddings=True,
        rope_scaling={"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                      "original_max_position_embeddings": 8192, "rope_type": "llama3"},
        torch_dtype="bfloat16", vocab_size=entries, pad_token_id=end,
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(106, prefix="model.")
    decoder(weights, shape, entries)
    weights.save(folder, torch.bfloat16)
    write_sentence_transformer(folder, width=shape.hidden, pooling="lasttoken", max_seq_length=8192)


def write_nemotron(folder: Path) -> None:
    """llama-nemotron-embed-1b-v2: `llama_bidirec` by remote code, mean, prompts query and passage."""
    write_llama_embedder(folder)
    shape = Shape()
    tokenizer = llama3()
    begin, end = (tokenizer.token_to_id(token) for token in ("<|begin_of_text|>", "<|end_of_text|>"))
    code = "llama_bidirectional_model.LlamaBidirectional"
    config = shape.config(
        architectures=["LlamaBidirectionalModel"], attention_bias=False, bos_token_id=begin, eos_token_id=end,
        auto_map={"AutoConfig": f"{code}Config", "AutoModel": f"{code}Model"}, head_dim=shape.head_size,
        hidden_act="silu", max_position_embeddings=131072, mlp_bias=False, model_type="llama_bidirec",
        pad_token_id=end, pooling="avg", pretraining_tp=1, rms_norm_eps=1e-05, rope_theta=500000.0, rope_scaling=None,
        temperature=0.02, tie_word_embeddings=True, torch_dtype="bfloat16", vocab_size=tokenizer.get_vocab_size(),
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(107)
    decoder(weights, shape, tokenizer.get_vocab_size())
    weights.save(folder, torch.bfloat16)
    prompts = {"query": "query:", "passage": "passage:"}
    write_sentence_transformer(folder, width=shape.hidden, pooling="mean", max_seq_length=8192, prompts=prompts)


# ── Gemma ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def write_gemma_tokenizer(folder: Path, *, eos: bool, limit: int) -> int:
    """Gemma's, as published."""
    return write_tokenizer(
        folder, gemma(eos=eos), "GemmaTokenizer", model_max_length=limit, bos_token="<bos>", eos_token="<eos>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", add_bos_token=True, add_eos_token=eos,
        spaces_between_special_tokens=False, use_default_system_prompt=False, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def write_embedding_gemma(folder: Path) -> None:
    """embeddinggemma-300m: bidirectional, sliding layers of 512 tokens, mean, two Dense modules, Normalize."""
    entries = write_gemma_tokenizer(folder, eos=True, limit=2048)
    shape = GEMMA3
    config = shape.config(
        _sliding_window_pattern=3, architectures=["Gemma3TextModel"], attention_bias=False,
        attn_logit_softcapping=None, bos_token_id=2, dtype="float32", eos_token_id=1, final_logit_softcapping=None,
        head_dim=shape.head_size, hidden_activation="gelu_pytorch_tanh",
        layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
        max_position_embeddings=2048, model_type="gemma3_text", pad_token_id=0, query_pre_attn_scalar=shape.head_size,
        rms_norm_eps=1e-06, rope_local_base_freq=10000.0, rope_scaling=None, rope_theta=1000000.0, sliding_window=64,
        transformers_version="4.57.0.dev0", use_bidirectional_attention=True, vocab_size=entries,
    )  # fmt: skip
    write_json(folder / "config.json", config)
    weights = Weights(108)
    decoder(weights, shape, entries)
    weights.save(folder)
    kinds = ["Transformer", "Pooling", "Dense", "Dense", "Normalize"]
    _, pooling, wide, narrow, _ = write_modules(folder, kinds)
    write_pooling(pooling, "mean", shape.hidden)
    write_dense(wide, weights, (shape.hidden, 4 * shape.hidden), bias=False)
    write_dense(narrow, weights, (4 * shape.hidden, shape.hidden), bias=False)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 2048, "do_lower_case": False})
    prompts = {
        "query": "task: search result | query: ",
        "document": "title: none | text: ",
        "BitextMining": "task: search result | query: ",
        "Clustering": "task: clustering | query: ",
        "Classification": "task: classification | query: ",
        "InstructionRetrieval": "task: code retrieval | query: ",
        "PairClassification": "task: sentence similarity | query: ",
        "Reranking": "task: search result | query: ",
        "Retrieval-query": "task: search result | query: ",
        "Retrieval-document": "title: none | text: ",
        "STS": "task: sentence similarity | query: ",
        "Summarization": "task: summarization | query: ",
    }
    write_versions(folder, prompts=prompts)


def write_embedding_gemma_2(folder: Path) -> None:
    """embeddinggemma-2 without its towers for pictures and sound: nested configuration, projection in the model."""
    from transformers import EmbeddingGemma2Config, EmbeddingGemma2Model

    entries = write_gemma_tokenizer(folder, eos=True, limit=8192)
    text = {
        "vocab_size": entries, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "global_head_dim": 32,
        "num_global_key_value_heads": 1, "sliding_window": 32, "sliding_window_pattern": 2,
        "hidden_size_per_layer_input": 32, "embedding_dim": 48, "max_position_embeddings": 8192,
    }  # fmt: skip
    towers: dict[str, Any] = {"vision_config": None, "audio_config": None}
    places = ("boi", "eoi", "image", "video", "boa", "audio")
    marks = {f"{name}_token_id": entries + 10 + at for at, name in enumerate(places)} | {"eoa_token_index": entries + 9}
    config = EmbeddingGemma2Config(text_config=text, **towers, **marks, architectures=["EmbeddingGemma2Model"])
    torch.manual_seed(109)
    model = EmbeddingGemma2Model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn_like(parameter)
            parameter.copy_(parameter + 0.1 * noise if parameter.ndim == 1 else noise / parameter.shape[-1] ** 0.5)
    model.save_pretrained(folder)
    prompts = {"query": "task: search result | query: ", "document": "title: none | text: "}
    write_sentence_transformer(folder, width=48, pooling="mean", max_seq_length=8192, prompts=prompts)
