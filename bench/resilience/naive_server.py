"""A simple server of the kind that Trivet replaces: `python -m bench.resilience.naive_server`.

FastAPI around transformers: one model in fp32 behind one `asyncio.Lock`, one padded batch per request in the order of
its texts, and the zero-shot pipeline for classification. It is not slowed down on purpose: forwards run in a thread, so
that the event loop stays responsive, under `inference_mode` and with the library's own attention. Texts beyond the
model's limit are truncated, as these libraries do.

Only an embedder with the architecture of nomic v2 MoE runs on Trivet's torch module, because transformers 5 silently
loads that checkpoint as another architecture, with random weights.
"""

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer, PreTrainedTokenizerFast, pipeline

from trivet.checkpoint.files import read_config
from trivet.checkpoint.nomic import is_nomic_moe
from trivet.config import TASKS, Task
from trivet.engine.models.load import load_torch_model

BodyT = TypeVar("BodyT", bound=BaseModel)
T = TypeVar("T")


class EmbedBody(BaseModel):
    texts: list[str]


class RerankBody(BaseModel):
    query: str
    documents: list[str]


class ClassifyBody(BaseModel):
    text: str
    labels: list[str]


def padded(tokenizer: PreTrainedTokenizerFast, *texts: list[str]) -> dict[str, torch.Tensor]:
    """Tokenize texts, or pairs of texts, as one batch that is padded to its longest sequence."""
    return dict(tokenizer(*texts, padding=True, truncation=True, return_tensors="pt"))


def load_embedder(path: Path) -> Callable[[EmbedBody], list[list[float]]]:
    """Load a model whose vectors are the L2-normalised mean of the last hidden state."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    if is_nomic_moe(read_config(path)):
        pooled = load_torch_model(path, "embedder")

        def vectors(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            found: torch.Tensor = pooled(batch["input_ids"], batch["attention_mask"])
            return found
    else:
        model = AutoModel.from_pretrained(path).eval()

        def vectors(batch: dict[str, torch.Tensor]) -> torch.Tensor:
            hidden = model(**batch).last_hidden_state  # (B, T, H)
            mask = batch["attention_mask"].unsqueeze(-1)  # (B, T, 1)
            mean: torch.Tensor = (hidden * mask).sum(1) / mask.sum(1)
            return mean

    def embed(body: EmbedBody) -> list[list[float]]:
        with torch.inference_mode():
            return torch.nn.functional.normalize(vectors(padded(tokenizer, body.texts))).tolist()

    return embed


def load_reranker(path: Path) -> Callable[[RerankBody], list[float]]:
    """Load a model with one logit per (query, document), which goes through a sigmoid."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path).eval()

    def rerank(body: RerankBody) -> list[float]:
        with torch.inference_mode():
            batch = padded(tokenizer, [body.query] * len(body.documents), body.documents)
            scores: list[float] = model(**batch).logits[:, 0].sigmoid().tolist()
            return scores

    return rerank


def load_classifier(path: Path) -> Callable[[ClassifyBody], dict[str, Any]]:
    """Load the pipeline with its defaults, which runs one label after another."""
    classify = pipeline("zero-shot-classification", model=str(path), device="cpu")
    return lambda body: dict(classify(body.text, body.labels, hypothesis_template="{}"))


def build(task: Task, path: Path) -> FastAPI:
    """Build the application for one model."""
    app = FastAPI()
    lock = asyncio.Lock()

    async def one_at_a_time(work: Callable[[BodyT], T], body: BodyT) -> T:
        async with lock:
            return await asyncio.to_thread(work, body)

    if task == "embedder":
        embedder = load_embedder(path)

        @app.post("/embed")
        async def embed(body: EmbedBody) -> list[list[float]]:
            return await one_at_a_time(embedder, body)
    elif task == "reranker":
        reranker = load_reranker(path)

        @app.post("/rerank")
        async def rerank(body: RerankBody) -> list[float]:
            return await one_at_a_time(reranker, body)
    else:
        classifier = load_classifier(path)

        @app.post("/classify")
        async def classify(body: ClassifyBody) -> dict[str, Any]:
            return await one_at_a_time(classifier, body)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--task", choices=TASKS, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--port", type=int, default=8090)
    options = parser.parse_args()
    uvicorn.run(build(options.task, options.model), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
