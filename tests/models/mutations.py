"""Published layouts with one thing changed: a setting that contradicts another, a tensor that does not fit, a file that
is not there. Each is right or refused by the name of the file and the field; none answers wrongly.

They are siblings of the wrong results that people reported (`cases.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.models import formulas
from tests.models.formulas import FormulaEmbedder
from tests.models.library import (
    CrossEncoderReference,
    SentenceTransformerReference,
    SparseReference,
    TokensReference,
    ZeroShotReference,
)
from tests.models.observe import Question
from tests.models.table import EXACT, State, fails, refused
from tests.support.published import (
    bart,
    bert,
    causal_rerankers,
    deberta,
    decoders,
    eurobert,
    gte,
    jina,
    modernbert,
    mpnet,
    nomic,
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
SPARSE = Question("embedder", SparseReference, "sparse")
GTE = Question("embedder", partial(FormulaEmbedder, hidden=formulas.gte_new))
NOMIC = Question("embedder", partial(FormulaEmbedder, hidden=formulas.nomic))


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


def _renamed(**parts: str) -> Change:
    """Replace parts of the tensors' names; `_` stands for a dot."""

    def change(folder: Path) -> None:
        pairs = [(old.replace("_", "."), new.replace("_", ".")) for old, new in parts.items()]

        def name(key: str) -> str:
            for old, replacement in pairs:
                key = key.replace(old, replacement)
            return key

        tensors(lambda found: {name(key): value for key, value in found.items()})(folder)

    return change


def _template_in_config(folder: Path) -> None:
    fields("tokenizer_config.json", chat_template=causal_rerankers.QWEN3_TEMPLATE)(folder)
    (folder / "chat_template.jinja").unlink()


_ROPE_BY_LAYER = {
    "full_attention": {"rope_type": "default", "rope_theta": 160000.0},
    "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
}
_FLAGS = "pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_max_tokens", "pooling_mode_lasttoken"
_POOLING = "1_Pooling/config.json"


def _pooled(*active: str) -> Change:
    return fields(_POOLING, **{flag: flag.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
                               in active for flag in _FLAGS})  # fmt: skip


minilm, e5, qwen3, gemma = (
    bert.write_minilm, xlm_roberta.write_e5_large_instruct, decoders.write_qwen3_padded, decoders.write_embedding_gemma
)  # fmt: skip

gte_new, nomic_v15 = gte.write_gte_multilingual, nomic.write_nomic_v15

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
    # ── by row of the models that people use: a field that is missing, older, newer, or contradicts another ──────────
    Mutation("no file of sentence-transformers' versions", minilm, _remove("config_sentence_transformers.json")),
    Mutation("no sentence_bert_config.json", minilm, _remove("sentence_bert_config.json")),
    Mutation("no configuration of the pooling", minilm, _remove(_POOLING), refused("1_Pooling/config.json is missing")),
    Mutation("no tokenizer_config.json", minilm, _remove("tokenizer_config.json")),
    Mutation(
        "norms by TensorFlow's names",
        minilm,
        _renamed(LayerNorm_weight="LayerNorm_gamma", LayerNorm_bias="LayerNorm_beta"),
    ),
    Mutation("BERT without type_vocab_size", minilm, fields("config.json", without=("type_vocab_size",))),
    Mutation(
        "include_prompt is false", minilm, fields(_POOLING, include_prompt=False), refused("include_prompt: false")
    ),
    Mutation(
        "`new` by rope_type",
        gte_new,
        fields("config.json", rope_scaling={"rope_type": "ntk", "factor": 8.0}),
        question=GTE,
    ),
    Mutation("`new` without rope_scaling", gte_new, fields("config.json", without=("rope_scaling",)), question=GTE),
    Mutation(
        "`new` without rope_theta", gte_new, fields("config.json", without=("rope_theta",)), refused("rope_theta")
    ),
    Mutation(
        "`new` without heads",
        gte_new,
        fields("config.json", without=("num_attention_heads",)),
        refused("num_attention_heads"),
    ),
    Mutation(
        "`new` with ntk and no factor",
        gte_new,
        fields("config.json", rope_scaling={"type": "ntk"}),
        refused("rope_scaling"),
    ),
    Mutation(
        "`new` with absolute positions",
        gte_new,
        fields("config.json", position_embedding_type="absolute"),
        refused("position_embedding_type"),
    ),
    Mutation("nomic with n_inner null", nomic_v15, fields("config.json", n_inner=None), refused("n_inner")),
    Mutation(
        "nomic without rotary_emb_fraction",
        nomic_v15,
        fields("config.json", without=("rotary_emb_fraction",)),
        refused("rotary_emb_fraction"),
    ),
    Mutation(
        "nomic without activation_function",
        nomic_v15,
        fields("config.json", without=("activation_function",)),
        refused("activation_function"),
    ),
    Mutation(
        "nomic without biases being named", nomic_v15, fields("config.json", without=("qkv_proj_bias",)), question=NOMIC
    ),
    Mutation(
        "ModernBERT in the names of transformers 5",
        modernbert.write_gte_modernbert,
        fields("config.json", without=("global_rope_theta", "local_rope_theta"), rope_parameters=_ROPE_BY_LAYER),
    ),
    Mutation(
        "ModernBERT with layer_types",
        modernbert.write_gte_modernbert,
        fields(
            "config.json",
            without=("global_attn_every_n_layers",),
            layer_types=["full_attention", "sliding_attention"] * 2,
        ),
    ),
    Mutation(
        "ModernBERT without a local base",
        modernbert.write_gte_modernbert,
        fields("config.json", without=("local_rope_theta",)),
    ),
    Mutation(
        "ModernBERT with a null base",
        modernbert.write_gte_modernbert,
        fields("config.json", local_rope_theta=None),
        refused("local_rope_theta is null"),
    ),
    Mutation(
        "ModernBERT with a base below 0",
        modernbert.write_gte_modernbert,
        fields("config.json", local_rope_theta=-1),
        refused("local_rope_theta"),
    ),
    Mutation(
        "ModernBERT with another pooling of its head",
        modernbert.write_gte_reranker_modernbert,
        fields("config.json", classifier_pooling="max"),
        refused("classifier_pooling"),
        RERANKER,
    ),
    Mutation(
        "ModernBERT's head with another activation",
        modernbert.write_gte_reranker_modernbert,
        fields("config.json", classifier_activation="silu"),
        question=RERANKER,
    ),
    Mutation(
        "weights that are not numbers",
        minilm,
        tensors(
            lambda found: {
                k: v * float("nan") if k.endswith("layer.2.output.dense.weight") else v for k, v in found.items()
            }
        ),
        fails("not finite"),
    ),
    Mutation(
        "Qwen3 in the names of transformers 5",
        qwen3,
        fields(
            "config.json",
            without=("rope_theta", "rope_scaling"),
            rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        ),
        question=WITH_PROMPTS,
    ),
    Mutation(
        "Qwen3 with YaRN by its older name",
        qwen3,
        fields("config.json", rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}),
    ),
    Mutation("Qwen3 with is_causal null", qwen3, fields("config.json", is_causal=None), refused("is_causal is None")),
    Mutation(
        "Qwen3 that is causal and attends both ways",
        qwen3,
        fields("config.json", is_causal=True, use_bidirectional_attention=True),
        refused("is_causal and use_bidirectional_attention"),
    ),
    Mutation("Qwen3 with weighted means", qwen3, _pooled("weightedmean")),
    Mutation(
        "EuroBERT that is causal", eurobert.write_eurobert, fields("config.json", is_causal=True), refused("is_causal")
    ),
    Mutation(
        "Llama with linear scaling",
        decoders.write_llama_embedder,
        fields("config.json", rope_scaling={"type": "linear", "factor": 4.0}),
    ),
    Mutation(
        "Llama with LongRoPE",
        decoders.write_llama_embedder,
        fields(
            "config.json",
            rope_scaling={
                "type": "longrope",
                "short_factor": [1.0] * 8,
                "long_factor": [4.0] * 8,
                "original_max_position_embeddings": 64,
            },
        ),
        refused("longrope"),
    ),
    Mutation("Mistral without a window", decoders.write_e5_mistral, fields("config.json", sliding_window=None)),
    Mutation("Mistral with a small window", decoders.write_e5_mistral, fields("config.json", sliding_window=8)),
    Mutation(
        "Mistral that attends both ways in a window",
        decoders.write_e5_mistral,
        fields("config.json", sliding_window=8, is_causal=False),
    ),
    Mutation(
        "Llama with dynamic scaling",
        decoders.write_llama_embedder,
        fields("config.json", rope_scaling={"type": "dynamic", "factor": 4.0}),
    ),
    Mutation(
        "Llama with YaRN that states its amplitude",
        decoders.write_llama_embedder,
        fields(
            "config.json",
            rope_scaling={
                "rope_type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "attention_factor": 0.7,
                "beta_fast": 16,
            },
        ),
    ),
    Mutation(
        "Llama with biases that its file lacks",
        decoders.write_llama_embedder,
        fields("config.json", attention_bias=True),
        refused("self_attn.k_proj.bias"),
    ),
    Mutation(
        "Qwen2 with another number of keys",
        decoders.write_gte_qwen2,
        fields("config.json", num_key_value_heads=4),
        refused("self_attn.k_proj"),
    ),
    Mutation("Qwen3 with other eps", qwen3, fields("config.json", rms_norm_eps=0.01)),
    Mutation(
        "Gemma with another scale and window",
        gemma,
        fields("config.json", query_pre_attn_scalar=100, sliding_window=10),
    ),
    Mutation(
        "Gemma with is_causal: false",
        gemma,
        fields("config.json", is_causal=False, use_bidirectional_attention=False),
        refused("config.json: is_causal is false"),
    ),
    Mutation("native gte by rope_theta", gte.write_arctic_m_v2, fields("config.json", rope_theta=500), question=GTE),
    Mutation(
        "Gemma in the names of transformers 5",
        gemma,
        fields(
            "config.json",
            without=("rope_theta", "rope_local_base_freq", "rope_scaling"),
            rope_parameters=_ROPE_BY_LAYER,
        ),
    ),
    Mutation(
        "Gemma with a pattern instead of layer_types",
        gemma,
        fields("config.json", without=("layer_types", "_sliding_window_pattern"), sliding_window_pattern=2),
    ),
    Mutation(
        "jina v2 with another feed-forward",
        jina.write_jina_v2,
        fields("config.json", feed_forward_type="reglu"),
        refused("feed_forward_type"),
    ),
    Mutation(
        "jina v2 without position_embedding_type",
        jina.write_jina_v2,
        fields("config.json", without=("position_embedding_type",)),
        refused("missing tensors"),
    ),
    Mutation(
        "jina v3 by rope_theta",
        jina.write_jina_v3_hf,
        fields("config.json", without=("rope_parameters",), rope_theta=20000.0),
    ),
    Mutation(
        "MPNet without its buckets",
        mpnet.write_all_mpnet,
        fields("config.json", without=("relative_attention_num_buckets",)),
    ),
    Mutation(
        "a reranker with num_labels alone",
        bert.write_ms_marco_minilm,
        fields("config.json", without=("id2label", "label2id"), num_labels=1),
        question=RERANKER,
    ),
    Mutation(
        "DeBERTa with pos_att_type as text",
        deberta.write_mxbai_rerank_v1,
        fields("config.json", pos_att_type="p2c|c2p"),
        question=RERANKER,
    ),
    Mutation(
        "DeBERTa with one term of positions",
        deberta.write_mxbai_rerank_v1,
        fields("config.json", pos_att_type=["c2p"]),
        question=RERANKER,
    ),
    Mutation(
        "DeBERTa without buckets",
        deberta.write_mxbai_rerank_v1,
        fields("config.json", position_buckets=-1, max_relative_positions=256),
        question=RERANKER,
    ),
    Mutation(
        "labels in capitals, entailment last",
        deberta.write_deberta_zeroshot,
        fields(
            "config.json",
            id2label={"1": "ENTAILMENT", "0": "NOT_ENTAILMENT"},
            label2id={"ENTAILMENT": 1, "NOT_ENTAILMENT": 0},
        ),
        question=CLASSIFIER,
    ),
    Mutation(
        "labels without names",
        deberta.write_deberta_zeroshot,
        fields("config.json", id2label={"0": "LABEL_0", "1": "LABEL_1"}, label2id={"LABEL_0": 0, "LABEL_1": 1}),
        refused("no entailment label"),
        CLASSIFIER,
    ),
    Mutation(
        "BART that scales its embeddings",
        bart.write_bart_mnli,
        fields("config.json", scale_embedding=True),
        question=Question("classifier", ZeroShotReference, special_tokens=False),
    ),
    Mutation(
        "the template in tokenizer_config.json",
        causal_rerankers.write_qwen3_reranker_modules,
        _template_in_config,
        question=RERANKER,
    ),
    Mutation(
        "one word that answers",
        causal_rerankers.write_qwen3_reranker_modules,
        fields("1_LogitScore/config.json", false_token_id=None),
        question=RERANKER,
    ),
    Mutation(
        "a word with an id below 0",
        causal_rerankers.write_qwen3_reranker_modules,
        fields("1_LogitScore/config.json", true_token_id=-1),
        refused("true_token_id is -1"),
        RERANKER,
    ),
    Mutation(
        "a template that changes long texts",
        causal_rerankers.write_qwen3_reranker_modules,
        _write("chat_template.jinja", causal_rerankers.QWEN3_TEMPLATE + "{% if query | length > 99 %}long{% endif %}"),
        refused("chat_template.jinja changes the texts"),
        RERANKER,
    ),
    Mutation(
        "a template with the document first",
        causal_rerankers.write_qwen3_reranker_modules,
        _write("chat_template.jinja", causal_rerankers.QWEN3_TEMPLATE.replace("{{ query }}", "{{ document }}", 1)),
        refused("insert the query once"),
        RERANKER,
    ),
    Mutation(
        "capped logits of a family without",
        causal_rerankers.write_qwen3_reranker_modules,
        fields("config.json", final_logit_softcapping=5.0),
        refused("final_logit_softcapping"),
        RERANKER,
    ),
    Mutation(
        "a bias of a causal head",
        causal_rerankers.write_qwen3_seq_cls_modules,
        tensors(lambda found: found | {"score.bias": torch.ones(1)}),
        refused("score.bias"),
        RERANKER,
    ),
    Mutation(
        "SPLADE that adds weights up",
        several_vectors.write_splade,
        fields("1_SpladePooling/config.json", pooling_strategy="sum"),
        question=SPARSE,
    ),
    Mutation(
        "SPLADE with two logarithms",
        several_vectors.write_splade,
        fields("1_SpladePooling/config.json", activation_function="log1p_relu"),
        question=SPARSE,
    ),
    Mutation(
        "SPLADE with decoder.bias",
        several_vectors.write_splade,
        _renamed(predictions_bias="predictions_decoder_bias"),
        question=SPARSE,
    ),
    Mutation(
        "a ColBERT that keeps punctuation",
        several_vectors.write_colbert_stanford,
        fields("artifact.metadata", mask_punctuation=False),
        question=TOKENS,
    ),
    Mutation(
        "a ColBERT with other lengths",
        several_vectors.write_colbert_stanford,
        fields("artifact.metadata", doc_maxlen=60, query_maxlen=16),
        question=TOKENS,
    ),
    Mutation(
        "a ColBERT of PyLate without prefixes",
        several_vectors.write_colbert_pylate,
        fields("config_sentence_transformers.json", without=("query_prefix", "document_prefix")),
        question=TOKENS,
    ),
    Mutation(
        "a ColBERT of PyLate that does not fill queries up",
        several_vectors.write_colbert_pylate,
        fields("config_sentence_transformers.json", do_query_expansion=False),
        question=TOKENS,
    ),
    Mutation(
        "a ColBERT that keeps some tokens only",
        several_vectors.write_colbert_modules,
        fields("2_MultiVectorMask/config.json", keep_only_token_ids=[5, 6]),
        refused("keep_only_token_ids"),
        TOKENS,
    ),
]
