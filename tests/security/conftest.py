"""One service, started as users start it, whose Python processes log their connection attempts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from bench.support.served import Served, served
from tests.security.recorder.sitecustomize import LOG_VARIABLE

RECORDER = Path(__file__).parent / "recorder"


@dataclass(frozen=True)
class Watched:
    """A running service, its log of outbound connections, and its token file."""

    service: Served
    outbound: Path
    """A line per attempt; the file does not exist if there was none."""
    token: Path


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("watched")
    outbound, token = folder / "outbound", folder / "ray" / "token"
    # As on a user's machine: no variable of this environment may disable telemetry.
    silencing = ("RAY_USAGE_STATS_ENABLED", "HF_HUB_DISABLE_TELEMETRY", "DO_NOT_TRACK", "CI", "HF_HUB_OFFLINE")
    with pytest.MonkeyPatch.context() as patch:
        for name in silencing:
            patch.delenv(name, raising=False)
        environment = {
            "PYTHONPATH": str(RECORDER),
            LOG_VARIABLE: str(outbound),
            "RAY_AUTH_TOKEN_PATH": str(token),
        }
        with served({"device": "cpu"}, env=environment) as service:
            for path, body in (
                ("/v1/embeddings", {"input": "retry a failed request"}),
                ("/v1/relations", {"source": "retry a request", "candidates": ["send it again", "bake bread"]}),
            ):
                httpx.post(service.url + path, json=body, timeout=60).raise_for_status()
            yield Watched(service, outbound, token)
