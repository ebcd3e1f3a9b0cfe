"""Published layouts with one thing changed: a setting that contradicts another, a tensor that does not fit, a file that
is not there. Each is right or refused by the name of the file and the field; none answers wrongly.

They are siblings of the wrong results that people reported (`cases.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.models.library import CrossEncoderReference, SentenceTransformerReference, TokensReference, ZeroShotReference
from tests.models.observe import Question
from tests.models.table import EXACT, State, refused
from tests.support.published import (
    bert,
    causal_rerankers,
    deberta,
    decoders,
    modernbert,
    several_vectors,
    xlm_roberta,
)

Change = Callable[[Path], None]

EMBEDDER = Question("embedder", SentenceTransformerReference)
WITH_PROMPTS = Question("embedder", SentenceTransformerReference, sides=True)
RERANKER = Question("reranker", CrossEncoderReference)
CLASSIFIER = Question("classifier", ZeroShotReference)
PICKLED = Question("embedder", SentenceTransformerReference, pickled=True)
TOKENS = Question("embedder", TokensReference, "tokens", sides=True)


@dataclass(frozen=True)
class Mutation:
    """One change of a published layout."""

    name: str
    write: Change
    change: Change
    expected: State = EXACT
    question: Question = EMBEDDER

    def make(self, folder: Path) -> None:
        """Write the changed checkpoint."""
        self.write(folder)
        self.change(folder)


def fields(name: str, *, without: tuple[str, ...] = (), **changed: Any) -> Change:
    """Change fields of a JSON file, which is made if it is not there."""

    def change(folder: Path) -> None:
        file = folder / name
        content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        content = {key: value for key, value in (content | changed).items() if key not in without}
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")

    return change


def tensors(of: Callable[[dict[str, Tensor]], Mapping[str, Tensor]], name: str = "model.safetensors") -> Change:
    """Change the tensors of a file."""

    def change(folder: Path) -> None:
        file = folder / name
        save_file(dict(of(load_file(file))), file, metadata={"format": "pt"})

    return change


def both(*changes: Change) -> Change:
    """Do one after the other."""

    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def sharded(*, missing: bool = False, wrongly_indexed: bool = False) -> Change:
    """Divide the weights into two shards and an index."""

    def change(folder: Path) -> None:
        single = folder / "model.safetensors"
        found = load_file(single)
        names = sorted(found)
        parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
        for file, chosen in parts.items():
            save_file({one: found[one] for one in chosen}, folder / file, metadata={"format": "pt"})
        index = {one: file for file, chosen in parts.items() for one in chosen}
        if wrongly_indexed:
            index |= {"invented.weight": "model-00001-of-00002.safetensors"}
            save_file(
                {names[2]: found[names[2]]}, folder / "model-00001-of-00002.safetensors", metadata={"format": "pt"}
            )
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
        single.unlink()
        if missing:
            (folder / "model-00002-of-00002.safetensors").unlink()

    return change


def modules(*kinds: str, folders: tuple[str, ...] = ()) -> Change:
    """Replace the chain of modules; a folder is named as sentence-transformers names it unless it is given."""

    def change(folder: Path) -> None:
        paths = folders or tuple("" if at == 0 else f"{at}_{kind}" for at, kind in enumerate(kinds))
        chain = [
            {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for at, (kind, path) in enumerate(zip(kinds, paths, strict=True))
        ]
        (folder / "modules.json").write_text(json.dumps(chain))

    return change


def added_token(*, to_table: bool, at: int | None = None) -> Change:
    """Add a token to tokenizer.json, behind its vocabulary; with a row of the table, or without."""

    def change(folder: Path) -> None:
        from tokenizers import AddedToken, Tokenizer

        file = str(folder / "tokenizer.json")
        tokenizer = Tokenizer.from_file(file)
        tokenizer.add_tokens([AddedToken("[CODE]", normalized=False)])
        tokenizer.save(file)
        if to_table:
            entries = tokenizer.get_vocab_size()
            fields("config.json", vocab_size=entries)(folder)
            tensors(lambda found: {key: _longer(key, value, entries) for key, value in found.items()})(folder)

    return change


def _longer(key: str, value: Tensor, entries: int) -> Tensor:
    if not key.endswith("word_embeddings.weight"):
        return value
    return torch.cat([value, 0.3 * torch.ones(entries - len(value), value.shape[1])])


def _pickle(name: str, **found: Tensor) -> Change:
    return lambda folder: torch.save(found, folder / name)


def _remove(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def _write(name: str, text: str) -> Change:
    return lambda folder: (folder / name).write_text(text, encoding="utf-8") and None


def _folder(folder: Path, kind: str) -> str:
    return next(path.name for path in sorted(folder.iterdir()) if path.name.endswith(kind))


def _embedding(found: Mapping[str, Tensor]) -> str:
    return next(name for name in found if name.endswith("embed_tokens.weight"))


def _lora(folder: Path) -> None:
    name = "base_model.model.encoder.layer.0.attention.self.query.lora"
    found = {f"{name}_A.weight": torch.ones(4, 64), f"{name}_B.weight": torch.ones(64, 4)}
    save_file(found, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _swapped(folder: Path) -> None:
    file = folder / "config.json"
    config = json.loads(file.read_text())
    names = list(config["label2id"])
    config["label2id"] = dict(zip(names, reversed(list(config["label2id"].values())), strict=True))
    file.write_text(json.dumps(config))


def _added_by_config(folder: Path) -> None:
    added = {
        "content": "parser",
        "lstrip": False,
        "normalized": False,
        "rstrip": False,
        "single_word": False,
        "special": True,
    }
    fields("tokenizer_config.json", added_tokens_decoder={"90": added})(folder)


_FLAGS = "pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_max_tokens", "pooling_mode_lasttoken"
_POOLING = "1_Pooling/config.json"


def _pooled(*active: str) -> Change:
    return fields(_POOLING, **{flag: flag.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
                               in active for flag in _FLAGS})  # fmt: skip


minilm, e5, qwen3, gemma = (
    bert.write_minilm, xlm_roberta.write_e5_large_instruct, decoders.write_qwen3_padded, decoders.write_embedding_gemma
)  # fmt: skip

MUTATIONS = [
    # ── pooling and modules ─────────────────────────────────────────────────────────────────────────────────────────
    Mutation("no pooling flag is set", minilm, _pooled()),
    Mutation("two pooling flags are set", minilm, _pooled("cls", "mean")),
    Mutation(
        "an unknown pooling flag is set", minilm, fields(_POOLING, pooling_mode_median_tokens=True), refused("median")
    ),
    Mutation("a pooling mode and contradicting flags", minilm, fields(_POOLING, pooling_mode="cls")),
    Mutation("an unknown pooling mode", minilm, fields(_POOLING, pooling_mode="median"), refused("median")),
    Mutation(
        "pooling of another width than the encoder's",
        minilm,
        fields(_POOLING, word_embedding_dimension=32),
        refused("1_Pooling/config.json: word_embedding_dimension is 32"),
    ),
    Mutation(
        "a module of an unknown type", minilm, modules("Transformer", "Pooling", "WordWeights"), refused("WordWeights")
    ),
    Mutation(
        "a module's folder is missing",
        minilm,
        modules("Transformer", "Pooling", "Dense"),
        refused("2_Dense/config.json is missing"),
    ),
    Mutation("the same module twice", minilm, modules("Transformer", "Pooling", "Normalize", "Normalize")),
    Mutation(
        "Normalize before Dense",
        gemma,
        modules(
            "Transformer", "Pooling", "Normalize", "Dense", "Dense", folders=("", "1_Pooling", "", "2_Dense", "3_Dense")
        ),
    ),
    Mutation(
        "Dropout between modules",
        gemma,
        both(
            modules(
                "Transformer",
                "Pooling",
                "Dropout",
                "Dense",
                "Dense",
                folders=("", "1_Pooling", "2_Dropout", "2_Dense", "3_Dense"),
            ),
            fields("2_Dropout/config.json", dropout=0.5),
        ),
    ),
    Mutation(
        "a Dense whose file has another shape",
        gemma,
        fields("2_Dense/config.json", out_features=32),
        refused("Dense takes"),
    ),
    Mutation("a Dense without its bias", gemma, fields("2_Dense/config.json", bias=True), refused("linear.bias")),
    Mutation(
        "a Dense with a bias that its configuration denies",
        gemma,
        tensors(
            lambda found: found | {"linear.bias": torch.ones(len(found["linear.weight"]))}, "2_Dense/model.safetensors"
        ),
        refused("linear.bias"),
    ),
    Mutation(
        "a Dense with an activation that is no class of torch",
        gemma,
        fields("2_Dense/config.json", activation_function="os.system"),
        refused("os.system"),
    ),
    Mutation(
        "a LayerNorm whose file has another shape",
        modernbert.write_ettin_reranker,
        lambda folder: tensors(
            lambda found: {k: v[:32].contiguous() for k, v in found.items()},
            f"{_folder(folder, 'LayerNorm')}/model.safetensors",
        )(folder),
        refused("norm.weight"),
        RERANKER,
    ),
    # ── settings of sentence-transformers ───────────────────────────────────────────────────────────────────────────
    Mutation("max_seq_length is null", minilm, fields("sentence_bert_config.json", max_seq_length=None)),
    Mutation(
        "max_seq_length is beyond the positions", minilm, fields("sentence_bert_config.json", max_seq_length=100_000)
    ),
    Mutation(
        "max_seq_length is 0", minilm, fields("sentence_bert_config.json", max_seq_length=0), refused("max_seq_length")
    ),
    Mutation(
        "do_lower_case in the second of two files", minilm, fields("sentence_roberta_config.json", do_lower_case=True)
    ),
    Mutation(
        "do_lower_case and a limit in sentence_distilbert_config.json",
        bert.write_lower_cased,
        both(
            _remove("sentence_bert_config.json"),
            fields("sentence_distilbert_config.json", do_lower_case=True, max_seq_length=64),
        ),
    ),
    Mutation(
        "a default prompt that no prompt has",
        minilm,
        fields("config_sentence_transformers.json", prompts={"query": "q: "}, default_prompt_name="web"),
        refused("config_sentence_transformers.json: default_prompt_name is 'web'"),
    ),
    Mutation(
        "the encoder's pooler output is read",
        minilm,
        fields(
            "sentence_bert_config.json",
            transformer_task="feature-extraction",
            module_output_name="token_embeddings",
            modality_config={"text": {"method": "forward", "method_output_name": "pooler_output"}},
        ),
        refused("sentence_bert_config.json: modality_config"),
    ),
    Mutation(
        "another task of the transformer",
        minilm,
        fields("sentence_bert_config.json", transformer_task="fill-mask"),
        refused("sentence_bert_config.json: transformer_task is 'fill-mask'"),
    ),
    Mutation(
        "model_args that change the model",
        minilm,
        fields("sentence_bert_config.json", model_args={"num_hidden_layers": 1}),
        refused("model_args"),
    ),
    Mutation(
        "model_args that change nothing",
        minilm,
        fields("sentence_bert_config.json", model_args={"attn_implementation": "eager", "dtype": "float16"}),
    ),
    Mutation(
        "tokenizer_args that change the tokens",
        minilm,
        fields("sentence_bert_config.json", tokenizer_args={"do_lower_case": False}),
        refused("tokenizer_args"),
    ),
    Mutation(
        "config_args that change the model",
        minilm,
        fields("sentence_bert_config.json", config_args={"num_hidden_layers": 1}),
        refused("config_args"),
    ),
    Mutation(
        "a reranker with a default prompt",
        modernbert.write_ettin_reranker,
        fields("config_sentence_transformers.json", prompts={"web": "find: "}, default_prompt_name="web"),
        refused("config_sentence_transformers.json: default_prompt_name"),
        RERANKER,
    ),
    # ── weights ─────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutation("two shards", minilm, sharded()),
    Mutation("a shard is missing", minilm, sharded(missing=True), refused("model-00002-of-00002.safetensors")),
    Mutation(
        "an index that names tensors which no shard has",
        minilm,
        sharded(wrongly_indexed=True),
        refused("missing tensors"),
    ),
    Mutation("a further head", minilm, tensors(lambda found: found | {"qa_outputs.weight": torch.ones(2, 64)})),
    Mutation(
        "a tensor of unknown use",
        minilm,
        tensors(lambda found: found | {"adapter.weight": torch.ones(2, 64)}),
        refused("adapter.weight"),
    ),
    Mutation(
        "fewer layers than the file has", minilm, fields("config.json", num_hidden_layers=2), refused("encoder.layer.2")
    ),
    Mutation(
        "more positions than the file has",
        minilm,
        fields("config.json", max_position_embeddings=1024),
        refused("position_embeddings"),
    ),
    Mutation(
        "a LoRA adapter beside the weights",
        minilm,
        both(
            fields("adapter_config.json", peft_type="LORA", r=4, target_modules=["query"], base_model_name_or_path="x"),
            _lora,
        ),
        refused("adapter_config.json"),
    ),
    Mutation(
        "quantised weights",
        minilm,
        fields("config.json", quantization_config={"quant_method": "gptq", "bits": 4}),
        refused("quantization_config"),
    ),
    Mutation(
        "a dtype beside weights of another", minilm, fields("config.json", torch_dtype="bfloat16", dtype="bfloat16")
    ),
    Mutation(
        "tied words and another lm_head",
        causal_rerankers.write_qwen3_reranker_modules,
        tensors(lambda found: found | {"lm_head.weight": torch.flip(found[_embedding(found)], (0,)).contiguous()}),
        EXACT,
        RERANKER,
    ),
    Mutation(
        "untied words without an lm_head",
        causal_rerankers.write_qwen3_reranker_modules,
        both(
            fields("config.json", tie_word_embeddings=False),
            tensors(lambda found: {k: v for k, v in found.items() if k != "lm_head.weight"}),
        ),
        refused("lm_head.weight"),
        RERANKER,
    ),
    Mutation(
        "a sparse head of another width",
        xlm_roberta.write_bge_m3,
        _pickle("sparse_linear.pt", weight=torch.ones(1, 32), bias=torch.ones(1)),
        refused("sparse_linear"),
        PICKLED,
    ),
    Mutation(
        "a ColBERT whose layer has another width than its metadata",
        several_vectors.write_colbert_stanford,
        fields("artifact.metadata", dim=16),
        refused("linear.weight"),
        TOKENS,
    ),
    # ── configuration of the encoder ────────────────────────────────────────────────────────────────────────────────
    Mutation("another activation", minilm, fields("config.json", hidden_act="relu")),
    Mutation("an unknown activation", minilm, fields("config.json", hidden_act="wave"), refused("wave")),
    Mutation(
        "relative positions without their tensors",
        minilm,
        fields("config.json", position_embedding_type="relative_key"),
        refused("position_embedding_type"),
    ),
    Mutation("a BERT that is a decoder", minilm, fields("config.json", is_decoder=True)),
    Mutation("another padding id, from which positions are counted", e5, fields("config.json", pad_token_id=0)),
    Mutation(
        "ModernBERT with other global layers",
        modernbert.write_gte_modernbert,
        fields("config.json", global_attn_every_n_layers=2),
    ),
    Mutation(
        "ModernBERT with an odd window", modernbert.write_gte_modernbert, fields("config.json", local_attention=33)
    ),
    Mutation(
        "Qwen3 with sliding layers",
        qwen3,
        fields("config.json", use_sliding_window=True, sliding_window=24, max_window_layers=1),
    ),
    Mutation(
        "Qwen3 with YaRN",
        qwen3,
        fields(
            "config.json", rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
        ),
    ),
    Mutation(
        "an unknown rope",
        qwen3,
        fields("config.json", rope_scaling={"rope_type": "spiral", "factor": 4.0}),
        refused("spiral"),
    ),
    Mutation("Gemma with capped attention", gemma, fields("config.json", attn_logit_softcapping=5.0)),
    Mutation("Gemma that is causal", gemma, fields("config.json", use_bidirectional_attention=False)),
    Mutation(
        "the type of a model that nobody knows", minilm, fields("config.json", model_type="wonder"), refused("wonder")
    ),
    # ── labels ──────────────────────────────────────────────────────────────────────────────────────────────────────
    Mutation(
        "label2id contradicts id2label",
        deberta.write_deberta_zeroshot,
        _swapped,
        refused("config.json: label2id"),
        CLASSIFIER,
    ),
    Mutation(
        "num_labels contradicts id2label",
        bert.write_ms_marco_minilm,
        fields("config.json", num_labels=3),
        refused("wrong shapes: classifier"),
        RERANKER,
    ),
    # ── tokenizer ───────────────────────────────────────────────────────────────────────────────────────────────────
    Mutation("an added token with a row of its own", minilm, added_token(to_table=True)),
    Mutation(
        "an added token beyond the table",
        minilm,
        added_token(to_table=False),
        refused("tokenizer.json gives ids up to"),
    ),
    Mutation(
        "tokens that tokenizer_config.json adds",
        minilm,
        _added_by_config,
        refused("tokenizer_config.json: added_tokens_decoder"),
    ),
    Mutation(
        "tokens that tokenizer_config.json adds to ModernBERT's",
        modernbert.write_gte_modernbert,
        _added_by_config,
        refused("tokenizer_config.json: added_tokens_decoder"),
    ),
    Mutation(
        "tokens that tokenizer_config.json adds to Qwen's",
        qwen3,
        _added_by_config,
        refused("tokenizer_config.json: added_tokens_decoder"),
    ),
    Mutation(
        "tokens that tokenizer_config.json adds to XLM-R's",
        e5,
        _added_by_config,
        refused("tokenizer_config.json: added_tokens_decoder"),
    ),
    Mutation(
        "tokens that tokenizer_config.json adds to Mistral's",
        decoders.write_e5_mistral,
        _added_by_config,
        refused("tokenizer_config.json: added_tokens_decoder"),
    ),
    Mutation("no tokenizer.json", minilm, _remove("tokenizer.json"), refused("tokenizer.json")),
    Mutation(
        "add_eos_token denies what tokenizer.json adds",
        decoders.write_e5_mistral,
        fields("tokenizer_config.json", add_eos_token=False),
    ),
    Mutation(
        "add_bos_token denies what tokenizer.json adds",
        decoders.write_e5_mistral,
        fields("tokenizer_config.json", add_bos_token=False),
    ),
    Mutation(
        "add_eos_token asks for what tokenizer.json does not add",
        decoders.write_llama_embedder,
        fields("tokenizer_config.json", add_eos_token=True, eos_token="<|end_of_text|>"),
    ),
    Mutation("Qwen with add_eos_token", qwen3, fields("tokenizer_config.json", add_eos_token=False)),
    Mutation("padding on the left", qwen3, fields("tokenizer_config.json", padding_side="left")),
    Mutation("another [CLS] in tokenizer_config.json", minilm, fields("tokenizer_config.json", cls_token="[MASK]")),
    Mutation("a lower limit in tokenizer_config.json", minilm, fields("tokenizer_config.json", model_max_length=64)),
]
