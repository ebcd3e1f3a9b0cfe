"""Every model people use, and what this project makes of it today: the state that `test_states.py` finds.

A row that gets better fails its test until its state is changed here, and STATES.md with it:

    python -m tests.models.render

The rows follow the models in use in 2025-26. Each stands for all checkpoints of its layout; `also` names some.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.models import formulas
from tests.models.formulas import AnswerReference, FormulaEmbedder, M3Reference, PromptedClassifierReference
from tests.models.lanes import Lane
from tests.models.library import (
    CrossEncoderReference,
    SentenceTransformerReference,
    SparseReference,
    TokensReference,
    ZeroShotReference,
)
from tests.models.observe import Kind, Question
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


@dataclass(frozen=True)
class State:
    """What happens to a checkpoint on one path. `says` is in the error's text; for `wrong`, it is the reason."""

    kind: Kind
    says: str = ""


EXACT = State("exact")
refused = partial(State, "refused")
fails = partial(State, "fails")
wrong = partial(State, "wrong")
ABSENT = State("absent")


@dataclass(frozen=True)
class Row:
    """One published layout."""

    model: str
    question: Question
    write: Callable[[Path], None]
    torch: State = EXACT
    cpu: State | None = None
    """None: as on the torch path."""
    needs: str = ""
    """The cheapest step that would make it exact, or refused where it is wrong."""
    also: str = ""

    def state(self, lane: Lane) -> State:
        """The state on one path."""
        return self.torch if lane == "torch" or self.cpu is None else self.cpu


EMBEDDER = Question("embedder", SentenceTransformerReference)
WITH_PROMPTS = Question("embedder", SentenceTransformerReference, sides=True)
RERANKER = Question("reranker", CrossEncoderReference)
CLASSIFIER = Question("classifier", ZeroShotReference)


def _formula(hidden: formulas.Hidden, *, sides: bool = False, projection: str | None = None) -> Question:
    return Question("embedder", partial(FormulaEmbedder, hidden=hidden, projection=projection), sides=sides)


def _answers(ids: formulas.Ids, yes: str, no: str | None) -> Question:
    return Question("reranker", partial(AnswerReference, ids=ids, yes=yes, no=no))


REMOTE_CODE = refused("trust_remote_code=True")
NO_PAD = refused("the tokenizer names no padding token; set pad_token_id in config.json")
CACHE_IN_GRAPH = fails("SequenceMark")
NO_EXAMPLE_END = fails("Each example must contain at least one <eos> token")
NO_SCORE_HEAD = refused("missing tensors: score.weight")
DENSE = "Dense and LayerNorm modules of modules.json, with their own safetensors"
NO_CACHE = "use_cache=False when the model is loaded"
PAD = "a padding token where neither config.json nor the tokenizer names one: tokenizer_config.json does"

BERT = [
    Row("all-MiniLM-L6-v2", EMBEDDER, bert.write_minilm),
    Row(
        "all-MiniLM-L6-v2, saved by sentence-transformers 6", WITH_PROMPTS, bert.write_saved_by_version_6,
        also="any embedder fine-tuned in 2026",
    ),
    Row("bge-small-en-v1.5", EMBEDDER, bert.write_bge_en, also="bge-base, bge-large"),
    Row("mxbai-embed-large-v1", WITH_PROMPTS, bert.write_mxbai_embed),
    Row("snowflake-arctic-embed-s", WITH_PROMPTS, bert.write_arctic_s, also="arctic-embed-m"),
    Row("multilingual-e5-small", EMBEDDER, bert.write_e5_small, needs="prompts by configuration: no file has them"),
    Row(
        "multilingual-e5-large-instruct", EMBEDDER, xlm_roberta.write_e5_large_instruct, also="multilingual-e5-large",
        needs="prompts by configuration: no file has them",
    ),
    Row("snowflake-arctic-embed-l-v2.0", WITH_PROMPTS, xlm_roberta.write_arctic_l_v2),
    Row(
        "bge-m3", EMBEDDER, xlm_roberta.write_bge_m3, refused("is a pickle"),
        needs="nothing: the configuration must name it in pickled_models",
    ),
    Row(
        "bge-m3, in pickled_models", Question("embedder", SentenceTransformerReference, pickled=True),
        xlm_roberta.write_bge_m3,
    ),
    Row(
        "bge-m3, sparse weights", Question("embedder", M3Reference, "sparse", pickled=True), xlm_roberta.write_bge_m3,
        ABSENT, needs="sparse_linear.pt read under pickled_models, and a request that asks for it",
    ),
    Row(
        "bge-m3, token vectors", Question("embedder", M3Reference, "tokens", pickled=True), xlm_roberta.write_bge_m3,
        ABSENT, needs="colbert_linear.pt read under pickled_models, and a request that asks for it",
    ),
    Row("all-mpnet-base-v2", EMBEDDER, mpnet.write_all_mpnet),
]  # fmt: skip

ENCODERS = [
    Row("gte-modernbert-base", EMBEDDER, modernbert.write_gte_modernbert, also="granite-embedding-english-r2"),
    Row("modernbert-embed-base", WITH_PROMPTS, modernbert.write_modernbert_embed),
    Row(
        "nomic-embed-text-v1.5", _formula(formulas.nomic), nomic.write_nomic_v15,
        refused("missing tensors: layers.10."),
        needs="the field names of its remote code (n_embd, n_layer, rotary_emb_base …): at full size the defaults of "
        "the native class happen to equal v1.5's", also="CodeRankEmbed",
    ),
    Row("nomic-embed-text-v2-moe", _formula(formulas.nomic, sides=True), nomic.write_nomic_v2_moe),
    Row(
        "gte-multilingual-base", _formula(formulas.gte_new), gte.write_gte_multilingual, REMOTE_CODE,
        needs="`new` read as the native `gte`; NTK scaling is rope_theta · factor with a linear factor^(2/head size)",
    ),
    Row(
        "gte-base-en-v1.5", _formula(formulas.gte_new), gte.write_gte_en_v15, REMOTE_CODE, also="gte-large-en-v1.5",
        needs="as gte-multilingual-base; type_vocab_size 0",
    ),
    Row(
        "stella_en_400M_v5", _formula(formulas.gte_new, sides=True), gte.write_stella,
        refused("chains Transformer → Pooling → Dense"), needs=f"as gte-multilingual-base; {DENSE}",
    ),
    Row("gte-multilingual-base, native", EMBEDDER, gte.write_native_gte),
    Row("snowflake-arctic-embed-m-v2.0", _formula(formulas.gte_new, sides=True), gte.write_arctic_m_v2),
    Row(
        "`gte` with rope_scaling ntk", _formula(formulas.gte_new), gte.write_gte_with_ntk, refused("'ntk'"),
        needs="as gte-multilingual-base; until then a refusal that names rope_scaling of config.json",
    ),
    Row(
        "jina-embeddings-v2-base-en", _formula(formulas.jina_v2), jina.write_jina_v2,
        refused("missing tensors: embeddings.position_embeddings.weight"), needs="a module of our own: ALiBi and GLU",
        also="jina-embeddings-v2-small-en, -base-de, -base-zh",
    ),
    Row(
        "jina-embeddings-v2-base-code", _formula(formulas.jina_v2), jina.write_jina_v2_code,
        refused("missing tensors: embeddings.position_embeddings.weight"),
        needs="the same module with normed queries and keys, a norm more and the other half gated",
    ),
    Row("jina-embeddings-v3-hf", EMBEDDER, jina.write_jina_v3_hf),
    Row("EuroBERT-210m", EMBEDDER, eurobert.write_eurobert),
    Row(
        "jina-embeddings-v5-text-nano", Question("embedder", None), jina.write_jina_v5, REMOTE_CODE,
        needs="its model_type read as eurobert (small: qwen3), and one of its LoRA adapters merged",
    ),
]  # fmt: skip

DECODERS = [
    Row(
        "Qwen3-Embedding-0.6B", WITH_PROMPTS, decoders.write_qwen3_embedding, NO_PAD, CACHE_IN_GRAPH,
        needs=f"{NO_CACHE}; {PAD}",
    ),
    Row(
        "Qwen3-Embedding with a padding token", WITH_PROMPTS, decoders.write_qwen3_padded, cpu=CACHE_IN_GRAPH,
        needs=NO_CACHE, also="F2LLM, harrier",
    ),
    Row(
        "Qwen3 with is_causal: false", EMBEDDER, decoders.write_qwen3_not_causal, cpu=CACHE_IN_GRAPH, needs=NO_CACHE,
    ),
    Row(
        "Qwen3 with use_bidirectional_attention", _formula(formulas.bidirectional_decoder("qwen3")),
        decoders.write_qwen3_bidirectional, wrong("case 7: computed causally"), CACHE_IN_GRAPH,
        needs="is_causal = False where config.json says use_bidirectional_attention: transformers reads that for Gemma "
        "alone",
    ),
    Row(
        "Qwen3-Embedding without modules.json", EMBEDDER, decoders.write_causal_without_modules,
        wrong("the mean is taken; sentence-transformers takes the last token of a …ForCausalLM"), CACHE_IN_GRAPH,
        needs="lasttoken as the pooling of a plain causal model, or a refusal",
    ),
    Row(
        "gte-Qwen2-1.5B-instruct", WITH_PROMPTS, decoders.write_gte_qwen2, NO_PAD, CACHE_IN_GRAPH,
        needs=f"{NO_CACHE}; {PAD}",
    ),
    Row("e5-mistral-7b-instruct", EMBEDDER, decoders.write_e5_mistral, cpu=CACHE_IN_GRAPH, needs=NO_CACHE),
    Row("a Llama 3 embedder", EMBEDDER, decoders.write_llama_embedder, cpu=CACHE_IN_GRAPH, needs=NO_CACHE),
    Row(
        "llama-nemotron-embed-1b-v2", _formula(formulas.bidirectional_decoder("llama"), sides=True),
        decoders.write_nemotron, REMOTE_CODE, needs="llama_bidirec read as llama with is_causal = False",
    ),
    Row(
        "voyage-4-nano", _formula(formulas.bidirectional_decoder("qwen3"), projection="linear"),
        decoders.write_voyage_nano, refused("unexpected tensors: linear.weight"),
        needs="qwen3 with is_causal = False and the projection of its file",
    ),
    Row(
        "pplx-embed-v1-0.6b", Question("embedder", None), decoders.write_pplx_embed,
        refused("FlexibleQuantizer"), needs="nothing planned: its modules are code",
    ),
    Row(
        "embeddinggemma-300m", WITH_PROMPTS, decoders.write_embedding_gemma,
        refused("chains Transformer → Pooling → Dense → Dense → Normalize"),
        needs=f"{DENSE}; for the CPU the masks of its two kinds of layers, handed in",
    ),
    Row(
        "embeddinggemma-2", _formula(formulas.native(), sides=True), decoders.write_embedding_gemma_2,
        refused("config.json states no hidden_size"),
        needs="nested configurations (text_config); for the CPU the masks of its two kinds of layers, handed in",
    ),
]  # fmt: skip

RERANKERS = [
    Row("ms-marco-MiniLM-L6-v2", RERANKER, bert.write_ms_marco_minilm),
    Row("ms-marco-electra-base", RERANKER, bert.write_electra),
    Row("bge-reranker-base", RERANKER, xlm_roberta.write_bge_reranker, also="bge-reranker-large"),
    Row("bge-reranker-v2-m3", RERANKER, xlm_roberta.write_bge_reranker_m3),
    Row("gte-reranker-modernbert-base", RERANKER, modernbert.write_gte_reranker_modernbert),
    Row("granite-embedding-reranker-english-r2", RERANKER, modernbert.write_granite_reranker_r2),
    Row(
        "ettin-reranker-17m-v1", RERANKER, modernbert.write_ettin_reranker,
        refused("missing tensors: classifier.bias, classifier.weight, head.dense.weight"),
        needs=f"{DENSE}, for rerankers too",
    ),
    Row("mxbai-rerank-base-v1", RERANKER, deberta.write_mxbai_rerank_v1),
    Row(
        "mxbai-rerank-base-v2", _answers(formulas.mxbai_ids, "1", "0"), causal_rerankers.write_mxbai_rerank_v2,
        NO_SCORE_HEAD, needs="two rows of the LM head, and its template: it is in no file",
    ),
    Row(
        "Qwen3-Reranker-0.6B, first layout", _answers(formulas.qwen3_ids, "yes", "no"),
        causal_rerankers.write_qwen3_reranker, NO_SCORE_HEAD, also="zerank",
        needs="two rows of the LM head, and its template: it is in no file",
    ),
    Row(
        "Qwen3-Reranker-0.6B, LogitScore", RERANKER, causal_rerankers.write_qwen3_reranker_modules, NO_SCORE_HEAD,
        needs="Transformer → LogitScore and chat_template.jinja",
    ),
    Row(
        "Qwen3-Reranker-0.6B-seq-cls",
        Question("reranker", partial(PromptedClassifierReference, ids=formulas.qwen3_ids)),
        causal_rerankers.write_qwen3_seq_cls, wrong("case 6: pairs without the template"), CACHE_IN_GRAPH,
        needs="a template, or a refusal: config.json says …ForSequenceClassification of a decoder",
    ),
    Row(
        "Qwen3-Reranker-0.6B-seq-cls, with a template", RERANKER, causal_rerankers.write_qwen3_seq_cls_modules,
        wrong("case 6: chat_template.jinja is not read"), CACHE_IN_GRAPH,
        needs="chat_template.jinja where sentence_bert_config.json has a message modality",
    ),
    Row(
        "bge-reranker-v2-gemma", _answers(formulas.gemma_ids, "Yes", None), causal_rerankers.write_bge_reranker_gemma,
        NO_SCORE_HEAD, needs="one row of the LM head, and its template: it is in no file",
    ),
    Row(
        "jina-reranker-v2-base-multilingual", Question("reranker", None), jina.write_jina_reranker_v2,
        refused("missing tensors: "), needs="the tensor names of its remote code read as XLM-RoBERTa's",
    ),
    Row(
        "jina-reranker-v3", Question("reranker", None), causal_rerankers.write_jina_reranker_v3,
        refused("projector.0.weight"), needs="nothing planned: it reads a query with all documents at once",
    ),
    Row(
        "a reranker with two unnamed labels", RERANKER, bert.write_two_labels,
        wrong("case 5: column 0 is taken for relevance"),
        needs="the number of labels that transformers would read (2 where config.json names none)",
    ),
]  # fmt: skip

CLASSIFIERS = [
    Row("deberta-v3-base-zeroshot-v2.0", CLASSIFIER, deberta.write_deberta_zeroshot, also="mDeBERTa-v3-base-mnli-xnli"),
    Row("nli-deberta-v3-base", CLASSIFIER, deberta.write_nli_deberta),
    Row("ModernBERT-large-zeroshot-v2.0", CLASSIFIER, modernbert.write_modernbert_zeroshot),
    Row("bge-m3-zeroshot-v2.0", CLASSIFIER, xlm_roberta.write_m3_zeroshot),
    Row(
        "bart-large-mnli", Question("classifier", ZeroShotReference, special_tokens=False), bart.write_bart_mnli,
        cpu=NO_EXAMPLE_END, needs="an example with `</s>` for the conversion, and use_cache=False",
    ),
    Row(
        "bart-large-mnli, `</s>` in a text", CLASSIFIER, bart.write_bart_mnli,
        fails("All examples must have the same number of <eos> tokens"), NO_EXAMPLE_END,
        needs="the head at the last `</s>` of each sequence; today one such text fails the batch it is in",
    ),
    Row(
        "gliclass-base-v1.0", Question("classifier", None), several_vectors.write_gliclass,
        refused("has no entailment label"), needs="nothing planned: a package of its own",
    ),
]  # fmt: skip

SEVERAL_VECTORS = [
    Row(
        "splade-v3", Question("embedder", SparseReference, "sparse"), several_vectors.write_splade,
        refused("chains MLMTransformer → SpladePooling"),
        needs="MLMTransformer, SpladePooling, and a request for sparse weights",
    ),
    Row(
        "splade-cocondenser-ensembledistil", Question("embedder", SparseReference, "sparse"),
        several_vectors.write_splade_plain, ABSENT, needs="as splade-v3; …ForMaskedLM without modules.json",
    ),
    Row(
        "colbertv2.0", Question("embedder", TokensReference, "tokens", sides=True),
        several_vectors.write_colbert_stanford, refused("unexpected tensors: linear.weight"),
        needs="linear.weight for each token, artifact.metadata, queries filled up with [MASK]",
    ),
    Row(
        "GTE-ModernColBERT-v1", Question("embedder", TokensReference, "tokens", sides=True),
        several_vectors.write_colbert_pylate, refused("chains Transformer → Dense"),
        needs="PyLate's Dense for each token, its prefixes, lengths and punctuation list",
    ),
    Row(
        "a ColBERT saved by sentence-transformers 6", Question("embedder", TokensReference, "tokens", sides=True),
        several_vectors.write_colbert_modules, refused("chains Transformer → Dense → MultiVectorMask → Normalize"),
        needs="MultiVectorMask, and module_input_name of Dense and Normalize",
    ),
    Row(
        "potion-base-8M", EMBEDDER, several_vectors.write_model2vec, refused("chains StaticEmbedding → Normalize"),
        needs="nothing planned: StaticEmbedding is a table and a mean",
    ),
]  # fmt: skip

SETTINGS = [
    Row(
        "do_lower_case in sentence_bert_config.json", EMBEDDER, bert.write_lower_cased,
        wrong("case 3: the text keeps its case"), needs="lower-case before the tokenizer's own normaliser",
    ),
    Row(
        "do_lower_case in tokenizer_config.json", EMBEDDER, bert.write_lower_cased_by_tokenizer_config,
        wrong("case 3, its sibling: transformers rebuilds BERT's tokenizer by that field"),
        needs="refuse where tokenizer_config.json and tokenizer.json disagree on case",
    ),
    Row(
        "max_seq_length in sentence_xlm-roberta_config.json", EMBEDDER, xlm_roberta.write_limit_of_its_own_name,
        wrong("case 4: 512 tokens are read instead of 128"), needs="all seven names of the file",
    ),
]  # fmt: skip

GROUPS: dict[str, list[Row]] = {
    "BERT, XLM-RoBERTa, MPNet as embedders": BERT,
    "Other encoders as embedders": ENCODERS,
    "Decoders as embedders": DECODERS,
    "Rerankers": RERANKERS,
    "Zero-shot classifiers": CLASSIFIERS,
    "Sparse and several vectors": SEVERAL_VECTORS,
    "Settings that are easily missed": SETTINGS,
}
ROWS: list[Row] = [row for rows in GROUPS.values() for row in rows]
