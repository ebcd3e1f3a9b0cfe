"""The request log is on disk within a second, however few requests there are."""

import asyncio
import logging
from logging.handlers import MemoryHandler, RotatingFileHandler
from pathlib import Path

import pytest

from deployments.observability.logs import LINES_AT_ONCE, WRITE_EVERY_S, RequestLines, serve_logger
from deployments.observability.sampler import Sampler
from trivet.api.middleware.telemetry import RequestLine
from trivet.dispatch.traffic import CallLog


@pytest.mark.slow
async def test_a_single_line_is_written_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "ingress.log"
    # As Serve sets it up for throughput: a thousand records are kept in memory.
    handler = MemoryHandler(1000, target=RotatingFileHandler(file))
    monkeypatch.setattr(serve_logger, "handlers", [handler])
    caplog.set_level(logging.INFO, logger="trivet.requests")
    lines = RequestLines()
    writer = Sampler(lines.write, every_s=WRITE_EVERY_S)
    writer.start()
    await asyncio.sleep(0)  # its first round is over before the line
    lines(RequestLine("id", "POST", "/v1/embeddings", "native", 200, 0.01, "", CallLog(0.0)))
    serve_logger.handle(logging.LogRecord("trivet", logging.WARNING, "f", 1, "a warning", (), None))
    assert not file.exists() or file.read_text(encoding="utf-8") == ""
    await asyncio.sleep(1.0)
    writer.stop()
    written = file.read_text(encoding="utf-8")
    assert "POST /v1/embeddings 200" in written
    assert "a warning" in written


def test_a_full_disk_costs_lines_and_no_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    full = RotatingFileHandler("/dev/full")
    monkeypatch.setattr(serve_logger, "handlers", [MemoryHandler(1000, target=full)])
    caplog.set_level(logging.INFO, logger="trivet.requests")
    lines = RequestLines()
    for _ in range(LINES_AT_ONCE):
        lines(RequestLine("id", "POST", "/v1/embeddings", "native", 200, 0.01, "", CallLog(0.0)))
    assert "No space left on device" in capsys.readouterr().err
