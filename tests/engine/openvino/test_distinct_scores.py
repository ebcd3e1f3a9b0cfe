"""Scores of a model that computes in bf16: its head is in fp32, so that different documents differ."""

import asyncio
from pathlib import Path

import pytest

from tests.support.conversions import convert_here
from trivet.config import AppConfig, CpuPrecision
from trivet.engine.open import open_cpu_engine
from trivet.messages import RerankRequest, RerankResult

DOCUMENTS = tuple(
    f"note {n}: the cache of part {n * 7 % 101} retries {n % 13} times and waits {n * 31 % 97} ms" for n in range(500)
)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", pytest.param("int8", marks=pytest.mark.models)])
def test_500_documents_have_500_scores(checkpoints: dict[str, Path], ir_cache: Path, precision: CpuPrecision) -> None:
    starter = checkpoints["starter-reranker"]
    convert_here(starter, "reranker", precision, ir_cache)
    config = AppConfig.model_validate(
        {
            "reranker": {"model": str(starter)},
            "cpu": {"precision": precision},
            "serving": {"cache_dir": str(ir_cache)},
        }
    )

    async def rerank() -> RerankResult:
        engine = open_cpu_engine(config, "reranker")
        engine.start()
        try:
            result = await engine.run(RerankRequest("how often does the cache retry", DOCUMENTS))
        finally:
            await engine.close()
        assert isinstance(result, RerankResult)
        return result

    logits = asyncio.run(rerank()).logits
    assert len(set(logits.tolist())) >= 495  # in fp32 all differ; as bf16 numbers there were 54
