"""The GPU benchmark's requests: joined calls have the lengths that the engine reads."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from bench.engine.gpu.workload import Workload
from bench.engine.shapes import SHAPES
from trivet.config import AppConfig, Task
from trivet.engine.open import open_cpu_engine
from trivet.starter import prepare_starter


@pytest.mark.slow
@pytest.mark.parametrize("task", ["embedder", "reranker", "classifier"])
def test_joined_calls_have_the_lengths_that_the_engine_reads(tmp_path: Path, task: Task) -> None:
    config = AppConfig()
    directory = prepare_starter(task, tmp_path)
    file = tmp_path / "workload.json"
    Workload.write_to(file, replace(SHAPES["MiniLM-L6"], task=task), directory, "short", 16)
    requests = Workload.read(file).requests(32)
    assert [len(one.lengths) for one in requests] == [32, 32]

    async def used() -> list[int]:
        engine = open_cpu_engine(config, task)
        engine.start()
        try:
            return [(await engine.run(one.request)).usage.tokens for one in requests]
        finally:
            await engine.close()

    assert asyncio.run(used()) == [sum(one.lengths) for one in requests]
