"""Measures what bf16 and int8 cost each family, and keeps the result: ``python -m tests.models.precision``.

Writes checkpoints with seeded random weights in the published layouts of `tests.support.published`, at the width of the
published models (vocabularies are small, and some have fewer layers), and the starter models, whose weights are
trained. Each answers the same texts on the torch path in fp32 and on the CPU lane in bf16 and int8.
``python -m tests.models.render`` puts the result into docs/models.md.

Random weights show what the arithmetic of an architecture costs. Trained ones can lose more where a few features are
far larger than the others, or less; `trivet verify` measures a model of your own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

from tests.models.lanes import Served, TorchBackend
from tests.models.texts import LABELS, QUERY, TEMPLATE, short_texts
from tests.support.checkpoints import write_checkpoint
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
    xlm_roberta,
)
from tests.support.published.decoders import Shape
from trivet.config import AppConfig, Precision, Task
from trivet.engine.backend import Backend
from trivet.engine.open import open_engine, prepare_model
from trivet.engine.openvino.export.convert import convert
from trivet.engine.openvino.open import open_ir
from trivet.messages import ClassifyRequest, EmbedRequest, Floats, PairText, RerankRequest

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "precision.json"
LOW: tuple[Precision, ...] = ("bf16", "int8")
STARTER = "starter"


@dataclass(frozen=True)
class Family:
    """One architecture at a published size."""

    name: str
    size: str
    """Layers × features, as people know the model."""
    task: Task
    write: Callable[[Path], object] | None
    """None: the starter model of the task."""
    sizes: dict[ModuleType, dict[str, Any]] = field(default_factory=dict)
    """Module of the writer → the constants that it is to have."""


def _base(*modules: ModuleType, layers: int = 12, inner: int = 3072, hidden: int = 768, heads: int = 12) -> Any:
    sizes = {"HIDDEN": hidden, "INNER": inner, "LAYERS": layers, "HEADS": heads}
    return dict.fromkeys(modules, sizes)


_QWEN3 = Shape(hidden=1024, inner=3072, layers=3, heads=16, key_value_heads=8, head_size=128, normed=True)
_QWEN2 = Shape(hidden=1536, inner=8960, layers=2, heads=12, key_value_heads=2, head_size=128, biased=True)
_LLAMA = partial(Shape, hidden=2048, inner=8192, layers=2, heads=32, key_value_heads=8, head_size=64)
_GEMMA3 = Shape(
    hidden=768, inner=1152, layers=4, heads=3, key_value_heads=1, head_size=256, normed=True, gemma3=True, around=0.0
)

FAMILIES = [
    Family("starter embedder (trained BERT)", "6 × 384", "embedder", None),
    Family("starter reranker (trained BERT)", "6 × 384", "reranker", None),
    Family("starter classifier (trained BERT)", "6 × 384", "classifier", None),
    Family("BERT (bge-base)", "12 × 768", "embedder", bert.write_bge_en, _base(bert)),
    Family("XLM-RoBERTa (e5, bge-m3)", "12 × 768", "embedder", xlm_roberta.write_e5_large_instruct,
           _base(bert, xlm_roberta)),
    Family("MPNet", "12 × 768", "embedder", mpnet.write_all_mpnet, _base(bert, mpnet)),
    Family("ModernBERT (gte, granite)", "22 × 768", "embedder", modernbert.write_gte_modernbert,
           _base(modernbert, layers=22, inner=1152)),
    Family("gte `new`", "3 of 12 × 768", "embedder", gte.write_gte_multilingual, _base(gte, layers=3)),
    Family("nomic v1.5", "3 of 12 × 768", "embedder", nomic.write_nomic_v15, _base(nomic, layers=3)),
    Family("nomic v2 MoE", "12 × 768, 8 experts", "embedder",
           lambda path: write_checkpoint("nomic-embed-text-v2-moe", "full", path, seed=42)),
    Family("jina v2", "3 of 12 × 768", "embedder", jina.write_jina_v2, _base(jina, layers=3, inner=2048)),
    Family("EuroBERT", "3 of 12 × 768", "embedder", eurobert.write_eurobert,
           {eurobert: {"HIDDEN": 768, "INNER": 3072, "LAYERS": 3, "HEADS": 12, "PAIRS": 4}}),
    Family("Qwen3-Embedding-0.6B", "3 of 28 × 1024", "embedder", decoders.write_qwen3_embedding,
           {decoders: {"QWEN3": _QWEN3}}),
    Family("Qwen2 (gte-Qwen2-1.5B)", "2 of 28 × 1536", "embedder", decoders.write_gte_qwen2,
           {decoders: {"QWEN2": _QWEN2}}),
    Family("Llama (nemotron-1b)", "2 of 16 × 2048", "embedder", decoders.write_nemotron, {decoders: {"Shape": _LLAMA}}),
    Family("Gemma 3 (EmbeddingGemma)", "4 of 24 × 768", "embedder", decoders.write_embedding_gemma,
           {decoders: {"GEMMA3": _GEMMA3}}),
    Family("BERT cross-encoder", "3 of 12 × 768", "reranker", bert.write_ms_marco_minilm, _base(bert, layers=3)),
    Family("DeBERTa v2 (mxbai-rerank-v1)", "3 of 12 × 768", "reranker", deberta.write_mxbai_rerank_v1,
           _base(deberta, layers=3)),
    Family("Qwen3-Reranker-0.6B", "3 of 28 × 1024", "reranker", causal_rerankers.write_qwen3_reranker_modules,
           {decoders: {"QWEN3": _QWEN3}, causal_rerankers: {"QWEN3": _QWEN3}}),
    Family("BART (bart-base)", "3 + 3 × 768", "classifier", bart.write_bart_mnli,
           _base(bart, layers=3)),
]  # fmt: skip


AS_ANOTHER = [
    ("ELECTRA, SPLADE, ColBERT on BERT", "as BERT: the same layers under another head"),
    ("Mistral, bge-reranker-v2-gemma", "as Llama: the same layers with other sizes"),
    ("mxbai-rerank-v2", "as Qwen2, read by two words"),
    ("DeBERTa as classifier", "as DeBERTa v2: the same layers, more outputs"),
    ("jina v3, EmbeddingGemma 2", "not measured: their checkpoints are written in small sizes only"),
]
"""Families without a row of their own, and the row that stands for them, or why there is none."""


@dataclass(frozen=True)
class Error:
    """How far one precision is from fp32."""

    median: float
    """Of an embedder's texts: ‖difference‖ / ‖fp32 vector‖. Of scores: ‖difference‖ / ‖distance from their mean‖."""
    largest: float
    cosine: float | None
    """The smallest of two vectors; None for scores."""
    order: float
    """Spearman's rank correlation: of the cosines of every two texts, or of the scores."""


def texts() -> list[str]:
    """48 texts of a few to about five hundred tokens."""
    short = short_texts(60)
    return [*short[:24], *(" ".join(short[at : at + 2 + at]) for at in range(12)), *(". ".join(short[:at]) for at in
            range(12, 36, 2))]  # fmt: skip


def measure(family: Family, folder: Path) -> dict[str, Any]:
    """Write one family's checkpoint and compare its precisions.

    Returns:
        An entry of the result file.
    """
    path = Path(STARTER)
    if family.write is not None:
        path = folder / "checkpoint"
        with _sized(family.sizes):
            family.write(path)
    expected = _ask(path, family, folder, "fp32")
    errors = {
        precision: asdict(_error(family.task, _ask(path, family, folder, precision), expected)) for precision in LOW
    }
    about = {"name": family.name, "size": family.size, "task": family.task, "trained": family.write is None}
    return {**about, "errors": errors}


@contextmanager
def _sized(sizes: dict[ModuleType, dict[str, Any]]) -> Iterator[None]:
    """Give the writers the sizes of published models: they read them from their module when they are called."""
    with ExitStack() as stack:
        for module, constants in sizes.items():
            stack.enter_context(patch.multiple(module, **{k: v for k, v in constants.items() if hasattr(module, k)}))
        yield


def _ask(path: Path, family: Family, folder: Path, precision: Precision) -> Floats:
    """The answers of the torch path at fp32, and of the CPU lane at the other precisions.

    The conversion runs in this process: importing the libraries anew for each would take longer than the measurement.
    """
    config = AppConfig.model_validate({family.task: {"model": str(path)}, "serving": {"cache_dir": str(folder)}})
    prepared = prepare_model(config, family.task)
    source, recipe = prepared.source.path, prepared.files.recipe
    backend: Backend
    if precision == "fp32":
        backend = TorchBackend(prepared)
    else:
        assert precision != "auto"
        graph = folder / precision
        convert(source, family.task, precision, graph, recipe=recipe)
        backend = open_ir(graph, precision, threads=None, token_budget=config.cpu.token_budget)
    with Served(open_engine(config, prepared, backend, precision), asyncio.new_event_loop()) as served:
        return _answers(served, family.task, texts())


def _answers(served: Served, task: Task, asked: Sequence[str]) -> Floats:
    """(texts, dimensions) of an embedder; (orders, entries) of scores, each row one order."""
    if task == "embedder":
        return served(EmbedRequest(tuple(asked))).vectors  # type: ignore[union-attr]
    if task == "reranker":
        return served(RerankRequest(QUERY, tuple(asked))).logits[None]  # type: ignore[union-attr]
    hypotheses = {label: TEMPLATE.format(label) for label in LABELS}
    inputs = tuple(PairText(text) for text in asked)
    scores: Floats = served(ClassifyRequest(inputs, hypotheses, multi_label=True)).scores  # type: ignore[union-attr]
    return scores.T


def _error(task: Task, found: Floats, expected: Floats) -> Error:
    from trivet.evaluation.verify.agreement import rank_agreement

    difference = np.linalg.norm(found - expected, axis=1)
    if task == "embedder":
        relative = difference / np.linalg.norm(expected, axis=1)
        units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (found, expected)]
        cosine = float((units[0] * units[1]).sum(axis=1).min())
        pairs = np.triu_indices(len(found), k=1)
        order = rank_agreement(*((rows @ rows.T)[pairs] for rows in units))
        return Error(float(np.median(relative)), float(relative.max()), cosine, order)
    relative = difference / np.linalg.norm(expected - expected.mean(axis=1, keepdims=True), axis=1)
    order = min(rank_agreement(one, other) for one, other in zip(found, expected, strict=True))
    return Error(float(np.median(relative)), float(relative.max()), None, order)


def table_markdown() -> str:
    """The table of the result file."""
    lines = [
        "| family | layers × features | bf16: error (largest) | order | int8: error (largest) | order |",
        "|---|---|---|---|---|---|",
    ]
    for entry in json.loads(RESULTS.read_text(encoding="utf-8"))["families"]:
        cells = [f"{entry['name']}, {entry['task']}", entry["size"]]
        for precision in LOW:
            error = entry["errors"][precision]
            cells += [f"{error['median']:.2%} ({error['largest']:.2%})", f"{error['order']:.4f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += [f"| {names} | {why} | – | – | – | – |" for names, why in AS_ANOTHER]
    return "\n".join(lines)


def _chosen(names: Sequence[str] | None) -> list[Family]:
    """The families whose names contain one of these, in their order; all if there are none."""
    return [family for name in names or [""] for family in FAMILIES if name in family.name]


def main() -> None:
    """Measure the families named, or all, and write the result file as it grows."""
    from bench.support.machine import describe_machine

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", help="families whose names contain this; repeatable; default: all")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the result file, which is brought up to date")
    asked = parser.parse_args()
    out = asked.out
    kept = json.loads(out.read_text(encoding="utf-8"))["families"] if out.is_file() else []
    found = {entry["name"]: entry for entry in kept}
    for family in _chosen(asked.only):
        with tempfile.TemporaryDirectory() as folder:
            found[family.name] = measure(family, Path(folder))
        print(json.dumps(found[family.name]), flush=True)  # noqa: T201 - the progress of a command-line tool
        ordered = [found[one.name] for one in FAMILIES if one.name in found]
        content = {"machine": describe_machine(), "texts": len(texts()), "families": ordered}
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
