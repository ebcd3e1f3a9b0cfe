"""Re-indexing an unchanged code base: from the disk cache, against computing it. `python -m bench.serving.cache`.

Both go through the whole application, as an indexer's requests do, without a socket. Computing is measured on a part of
the chunks and extrapolated, which is fair: it is linear. Reading is measured on all of them, by an application that has
nothing in memory; the chunks that were not computed have random vectors, which take the same time to read.
"""

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import httpx
import numpy as np
from pydantic import ByteSize

from bench.load.texts import texts
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.config import AppConfig, CacheConfig
from trivet.dispatch.local import LocalDispatcher
from trivet.dispatch.protocol import ModelServer, Routed
from trivet.messages import EmbedRequest, EmbedResult, ModelCard, Request, ResultT, StageTimings, Usage

GIB = 1024**3
CHUNKS_PER_REQUEST = 64


class Noise(LocalDispatcher):
    """Answers in a model's place with random vectors."""

    def __init__(self, cards: Sequence[ModelCard]) -> None:
        super().__init__(AppConfig())
        self._cards = cards
        self._rng = np.random.default_rng(0)

    async def models(self) -> Sequence[ModelCard]:
        return self._cards

    async def call(self, request: Request[ResultT]) -> Routed[ResultT]:
        checked = request.checked
        assert isinstance(request, EmbedRequest)
        count = len(request.texts)
        vectors = self._rng.standard_normal((count, self._cards[0].dimensions or 1)).astype(np.float32)
        usage = Usage((100,) * count, (1,) * count, (False,) * count)
        return Routed(checked(EmbedResult(vectors, usage, StageTimings(), "cpu")), "cpu")


def chunks(count: int) -> list[str]:
    """Distinct pieces of code and prose, of 120 tokens at the median."""
    return list(islice(dict.fromkeys(islice(texts(1, max_words=400), 2 * count)), count))


async def index(dispatcher: ModelServer, cache: CacheConfig, folder: Path, wanted: list[str], outcome: str) -> float:
    """Seconds to embed all chunks, four requests at a time; each request's answer must be this `outcome`."""
    app = create_app(dispatcher, ApiSettings(cache=cache, cache_folder=folder))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://trivet", timeout=None) as client,
    ):
        at_once = asyncio.Semaphore(4)

        async def request(some: list[str]) -> None:
            async with at_once:
                body = {"input": some, "encoding_format": "base64"}
                answer = await client.post("/v1/embeddings", json=body, headers={"x-trivet-priority": "bulk"})
            answer.raise_for_status()
            assert answer.headers.get("x-trivet-cache", "none") == outcome, answer.headers

        requests = [wanted[at : at + CHUNKS_PER_REQUEST] for at in range(0, len(wanted), CHUNKS_PER_REQUEST)]
        started_s = time.perf_counter()
        await asyncio.gather(*map(request, requests))
        return time.perf_counter() - started_s


def file_size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


async def measure(count: int, computed: int) -> None:
    wanted = chunks(count)
    off = CacheConfig(memory=ByteSize(0))
    on_disk = CacheConfig(memory=ByteSize(64 * 1024**2), disk=ByteSize(GIB))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        async with LocalDispatcher(AppConfig()) as real:
            await index(real, off, folder, wanted[:CHUNKS_PER_REQUEST], "none")  # warm
            load = os.getloadavg()[0]
            compute_s = await index(real, off, folder, wanted[:computed], "none") / computed * count
            device = (await real.readiness()).lanes["embedder"]["cpu"].device
            await index(Noise(await real.models()), on_disk, folder, wanted, "miss")
            rounds = [await index(real, on_disk, folder, wanted, "hit") for _ in range(3)]
        file_bytes = file_size(folder)
    read_s = sorted(rounds)[1]
    print(
        f"load average {load:.1f} at the start, {os.getloadavg()[0]:.1f} at the end; {os.cpu_count()} cores; {device}"
    )
    print(f"computing {computed} of {count} chunks: {compute_s:.1f} s for all of them, extrapolated")
    print(f"reading {count} chunks: {read_s:.2f} s (three times: {', '.join(f'{s:.2f}' for s in rounds)})")
    print(f"ratio {compute_s / read_s:.0f}; the file has {file_bytes / 2**20:.1f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--computed", type=int, default=1000)
    given = parser.parse_args()
    asyncio.run(measure(given.chunks, given.computed))


if __name__ == "__main__":
    main()
