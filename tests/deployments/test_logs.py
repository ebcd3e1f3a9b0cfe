"""The request log is on disk within a second, however few requests there are."""

import asyncio
import logging
import os
import sys
from logging.handlers import MemoryHandler, RotatingFileHandler
from pathlib import Path

import pytest

from deployments.observability.logs import (
    LINES_AT_ONCE,
    WRITE_EVERY_S,
    RequestLines,
    send_library_logs_to_serve,
    serve_logger,
)
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
    with pytest.raises(OSError, match="No space left"):
        full.close()


class _LogAsStderr:
    """What Serve puts in the place of `sys.stderr` in a replica."""

    def write(self, text: str) -> None:
        serve_logger.handle(logging.LogRecord("ray.serve", logging.INFO, "f", 1, text, (), None))

    def flush(self) -> None:
        """Nothing is kept back."""


@pytest.mark.timeout(20)  # a report of a report would not end
def test_a_full_disk_is_not_reported_to_the_log_on_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    full = RotatingFileHandler("/dev/full")
    monkeypatch.setattr(serve_logger, "handlers", [MemoryHandler(1, target=full)])
    monkeypatch.setattr(sys, "stderr", _LogAsStderr())
    with open(os.dup(2), "w", encoding="utf-8") as own_error_output:
        monkeypatch.setattr(sys, "__stderr__", own_error_output)
        send_library_logs_to_serve()
        serve_logger.handle(logging.LogRecord("trivet", logging.WARNING, "f", 1, "a warning", (), None))
    assert "a line of the log was lost (OSError(28, 'No space left on device')): a warning" in capfd.readouterr().err
    with pytest.raises(OSError, match="No space left"):
        full.close()
