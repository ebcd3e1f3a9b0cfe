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
    MaxSimReference,
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
    case: int | None = None
    """Number of the reported wrong result that the row repeats."""
    padded: str = ""
    """Why a GPU computes it on padded sequences, in part; empty where they lie end to end."""

    def state(self, lane: Lane) -> State:
        """The state on one path."""
        return self.torch if lane == "torch" or self.cpu is None else self.cpu


EMBEDDER = Question("embedder", SentenceTransformerReference)
WITH_PROMPTS = Question("embedder", SentenceTransformerReference, sides=True)
RERANKER = Question("reranker", CrossEncoderReference)
CLASSIFIER = Question("classifier", ZeroShotReference)


def _formula(hidden: formulas.Hidden, *, sides: bool = False, projection: str | None = None) -> Question:
    return Question("embedder", partial(FormulaEmbedder, hidden=hidden, projection=projection), sides=sides)


def _answers(ids: formulas.Ids, yes: str, no: str | None, template: str | None = None) -> Question:
    return Question("reranker", partial(AnswerReference, ids=ids, yes=yes, no=no), template=template)


SEVERAL = "more than one vector or number of a text"

REMOTE_CODE = refused("trust_remote_code=True")
NO_TEMPLATE = refused("its files have none; set reranker.template")
NAMED_TEMPLATE = "nothing: no file has its template, so the configuration must name one"

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
        padded=SEVERAL,
    ),
    Row(
        "bge-m3, sparse weights", Question("embedder", M3Reference, "sparse", pickled=True), xlm_roberta.write_bge_m3,
        padded=SEVERAL,
    ),
    Row(
        "bge-m3, token vectors", Question("embedder", M3Reference, "tokens", pickled=True), xlm_roberta.write_bge_m3,
        padded=SEVERAL,
    ),
    Row("all-mpnet-base-v2", EMBEDDER, mpnet.write_all_mpnet, padded="'mpnet'"),
]  # fmt: skip

ENCODERS = [
    Row("gte-modernbert-base", EMBEDDER, modernbert.write_gte_modernbert, also="granite-embedding-english-r2"),
    Row("modernbert-embed-base", WITH_PROMPTS, modernbert.write_modernbert_embed),
    Row(
        "nomic-embed-text-v1.5", _formula(formulas.nomic), nomic.write_nomic_v15, also="CodeRankEmbed",
    ),
    Row("nomic-embed-text-v2-moe", _formula(formulas.nomic, sides=True), nomic.write_nomic_v2_moe),
    Row(
        "gte-multilingual-base", _formula(formulas.gte_new), gte.write_gte_multilingual,
    ),
    Row(
        "gte-base-en-v1.5", _formula(formulas.gte_new), gte.write_gte_en_v15, also="gte-large-en-v1.5",
    ),
    Row(
        "stella_en_400M_v5", _formula(formulas.gte_new, sides=True), gte.write_stella,
    ),
    Row("gte-multilingual-base, native", EMBEDDER, gte.write_native_gte),
    Row("snowflake-arctic-embed-m-v2.0", _formula(formulas.gte_new, sides=True), gte.write_arctic_m_v2),
    Row(
        "`gte` with rope_scaling ntk", _formula(formulas.gte_new), gte.write_gte_with_ntk,
    ),
    Row(
        "jina-embeddings-v2-base-en", _formula(formulas.jina_v2), jina.write_jina_v2,
        also="jina-embeddings-v2-small-en, -base-de, -base-zh",
        padded="'alibi'",
    ),
    Row(
        "jina-embeddings-v2-base-code", _formula(formulas.jina_v2), jina.write_jina_v2_code,
        padded="'alibi'",
    ),
    Row("jina-embeddings-v3-hf", EMBEDDER, jina.write_jina_v3_hf, padded="'jina_embeddings_v3'"),
    Row("EuroBERT-210m", EMBEDDER, eurobert.write_eurobert, padded="'eurobert'"),
    Row(
        "jina-embeddings-v5-text-nano", Question("embedder", None), jina.write_jina_v5, REMOTE_CODE,
        needs="its model_type read as eurobert (small: qwen3), and one of its LoRA adapters merged",
    ),
]  # fmt: skip

DECODERS = [
    Row("Qwen3-Embedding-0.6B", WITH_PROMPTS, decoders.write_qwen3_embedding),
    Row("Qwen3-Embedding with a padding token", WITH_PROMPTS, decoders.write_qwen3_padded, also="F2LLM, harrier"),
    Row("Qwen3 with is_causal: false", EMBEDDER, decoders.write_qwen3_not_causal),
    Row(
        "Qwen3 with use_bidirectional_attention", _formula(formulas.bidirectional_decoder("qwen3")),
        decoders.write_qwen3_bidirectional, case=7,
    ),
    Row("Qwen3-Embedding without modules.json", EMBEDDER, decoders.write_causal_without_modules),
    Row("gte-Qwen2-1.5B-instruct", WITH_PROMPTS, decoders.write_gte_qwen2),
    Row("e5-mistral-7b-instruct", EMBEDDER, decoders.write_e5_mistral),
    Row("a Llama 3 embedder", EMBEDDER, decoders.write_llama_embedder),
    Row(
        "llama-nemotron-embed-1b-v2", _formula(formulas.bidirectional_decoder("llama"), sides=True),
        decoders.write_nemotron,
    ),
    Row(
        "voyage-4-nano", _formula(formulas.bidirectional_decoder("qwen3"), projection="linear"),
        decoders.write_voyage_nano,
    ),
    Row(
        "pplx-embed-v1-0.6b", Question("embedder", None), decoders.write_pplx_embed,
        refused("FlexibleQuantizer"), needs="nothing planned: its modules are code",
    ),
    Row("embeddinggemma-300m", WITH_PROMPTS, decoders.write_embedding_gemma),
    Row(
        "embeddinggemma-2", _formula(formulas.native(), sides=True), decoders.write_embedding_gemma_2,
        padded="'embedding_gemma2'",
    ),
]  # fmt: skip

RERANKERS = [
    Row("ms-marco-MiniLM-L6-v2", RERANKER, bert.write_ms_marco_minilm),
    Row("ms-marco-electra-base", RERANKER, bert.write_electra),
    Row("bge-reranker-base", RERANKER, xlm_roberta.write_bge_reranker, also="bge-reranker-large"),
    Row("bge-reranker-v2-m3", RERANKER, xlm_roberta.write_bge_reranker_m3),
    Row("gte-reranker-modernbert-base", RERANKER, modernbert.write_gte_reranker_modernbert),
    Row("granite-embedding-reranker-english-r2", RERANKER, modernbert.write_granite_reranker_r2),
    Row("ettin-reranker-17m-v1", RERANKER, modernbert.write_ettin_reranker),
    Row("mxbai-rerank-base-v1", RERANKER, deberta.write_mxbai_rerank_v1, padded="'deberta-v2'"),
    Row(
        "mxbai-rerank-base-v2", _answers(formulas.mxbai_ids, "1", "0", "mxbai-rerank-v2"),
        causal_rerankers.write_mxbai_rerank_v2, also="mxbai-rerank-large-v2",
    ),
    Row(
        "Qwen3-Reranker-0.6B, first layout", _answers(formulas.qwen3_ids, "yes", "no", "qwen3-reranker"),
        causal_rerankers.write_qwen3_reranker,
    ),
    Row(
        "a causal reranker of another name", _answers(formulas.qwen3_ids, "yes", "no"),
        causal_rerankers.write_qwen3_reranker, NO_TEMPLATE, also="zerank", needs=NAMED_TEMPLATE,
    ),
    Row("Qwen3-Reranker-0.6B, LogitScore", RERANKER, causal_rerankers.write_qwen3_reranker_modules),
    Row(
        "Qwen3-Reranker-0.6B-seq-cls",
        Question(
            "reranker", partial(PromptedClassifierReference, ids=formulas.qwen3_ids), template="qwen3-reranker"
        ),
        causal_rerankers.write_qwen3_seq_cls, case=6,
    ),
    Row(
        "a `-seq-cls` port of another name",
        Question("reranker", partial(PromptedClassifierReference, ids=formulas.qwen3_ids)),
        causal_rerankers.write_qwen3_seq_cls, NO_TEMPLATE, needs=NAMED_TEMPLATE, case=6,
    ),
    Row("Qwen3-Reranker-0.6B-seq-cls, with a template", RERANKER, causal_rerankers.write_qwen3_seq_cls_modules, case=6),
    Row(
        "bge-reranker-v2-gemma", _answers(formulas.gemma_ids, "Yes", None, "bge-reranker-v2-gemma"),
        causal_rerankers.write_bge_reranker_gemma,
    ),
    Row(
        "jina-reranker-v2-base-multilingual", Question("reranker", None), jina.write_jina_reranker_v2,
        refused("missing tensors: "), needs="the tensor names of its remote code read as XLM-RoBERTa's",
    ),
    Row(
        "jina-reranker-v3", Question("reranker", None), causal_rerankers.write_jina_reranker_v3,
        refused("has 2 outputs, and config.json names none of them"),
        needs="nothing planned: it reads a query with all documents at once",
    ),
    Row(
        "a reranker with two unnamed labels", RERANKER, bert.write_two_labels,
        refused("has 2 outputs, and config.json names none of them"),
        needs="nothing: no file says which of the two is relevance", case=5,
    ),
]  # fmt: skip

CLASSIFIERS = [
    Row(
        "deberta-v3-base-zeroshot-v2.0", CLASSIFIER, deberta.write_deberta_zeroshot, also="mDeBERTa-v3-base-mnli-xnli",
        padded="'deberta-v2'",
    ),
    Row("nli-deberta-v3-base", CLASSIFIER, deberta.write_nli_deberta, padded="'deberta-v2'"),
    Row("ModernBERT-large-zeroshot-v2.0", CLASSIFIER, modernbert.write_modernbert_zeroshot),
    Row("bge-m3-zeroshot-v2.0", CLASSIFIER, xlm_roberta.write_m3_zeroshot),
    Row(
        "bart-large-mnli", Question("classifier", ZeroShotReference, special_tokens=False), bart.write_bart_mnli,
        padded="'bart'",
    ),
    Row("bart-large-mnli, `</s>` in a text", CLASSIFIER, bart.write_bart_mnli, padded="'bart'"),
    Row(
        "gliclass-base-v1.0", Question("classifier", None), several_vectors.write_gliclass,
        refused("has no entailment label"), needs="nothing planned: it needs a separate package",
    ),
]  # fmt: skip

SEVERAL_VECTORS = [
    Row(
        "splade-v3", Question("embedder", SparseReference, "sparse"), several_vectors.write_splade,
        padded=SEVERAL,
    ),
    Row(
        "splade-cocondenser-ensembledistil", Question("embedder", SparseReference, "sparse", splade=True),
        several_vectors.write_splade_plain,
        padded=SEVERAL,
    ),
    Row(
        "colbertv2.0", Question("embedder", TokensReference, "tokens", sides=True),
        several_vectors.write_colbert_stanford,
        padded=SEVERAL,
    ),
    Row(
        "GTE-ModernColBERT-v1", Question("embedder", TokensReference, "tokens", sides=True),
        several_vectors.write_colbert_pylate,
        padded=SEVERAL,
    ),
    Row(
        "a ColBERT saved by sentence-transformers 6", Question("embedder", TokensReference, "tokens", sides=True),
        several_vectors.write_colbert_modules,
        padded=SEVERAL,
    ),
    Row(
        "colbertv2.0, as reranker", Question("reranker", MaxSimReference), several_vectors.write_colbert_stanford,
        padded=SEVERAL,
    ),
    Row(
        "GTE-ModernColBERT-v1, as reranker", Question("reranker", MaxSimReference),
        several_vectors.write_colbert_pylate,
        padded=SEVERAL,
    ),
    Row(
        "potion-base-8M", EMBEDDER, several_vectors.write_model2vec, refused("chains StaticEmbedding → Normalize"),
        needs="nothing planned: StaticEmbedding is a table and a mean",
    ),
]  # fmt: skip

SETTINGS = [
    Row("do_lower_case in sentence_bert_config.json", EMBEDDER, bert.write_lower_cased, case=3),
    Row("do_lower_case in tokenizer_config.json", EMBEDDER, bert.write_lower_cased_by_tokenizer_config, case=3),
    Row(
        "max_seq_length in sentence_xlm-roberta_config.json", EMBEDDER, xlm_roberta.write_limit_of_its_own_name, case=4
    ),
]

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
