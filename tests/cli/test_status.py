"""`trivet status` and `trivet dashboard`, and the lines that `trivet serve` shows while it starts."""

import json
import os
from pathlib import Path

import psutil
import pytest
import typer
from starlette.types import Receive, Scope, Send
from typer.testing import CliRunner

from deployments.service.folder import DASHBOARD_FILE
from deployments.service.record import ProcessId, RecordFile, ServiceRecord
from tests.cli.conftest import Run
from tests.support.dispatcher import EMBEDDER
from tests.support.serving import closed_port, served
from trivet.cli import main
from trivet.cli.commands import CommandGroup
from trivet.cli.progress_of_start import describe


def test_it_shows_every_model_with_its_device(run: Run) -> None:
    result = run("status")
    assert result.exit_code == 0, result.output
    assert EMBEDDER.name in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines()[1:4]] == ["embedder", "reranker", "classifier"]


def test_json_is_the_services_own_answer(run: Run) -> None:
    result = run("status", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["object"] == "status"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_model_that_no_device_serves_ends_it_with_1(run: Run, options: list[str]) -> None:
    whole = json.loads(run("status", "--json").stdout)
    for lane in whole["models"]["reranker"]["lanes"].values():
        lane["ready"] = False

    async def unready(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(whole).encode()})

    with served(unready) as server:
        result = run("status", *options, server=server)
    assert result.exit_code == 1
    assert "reranker" in result.stdout


OTHERS = [
    (200, b"<html>\x1b[31m a page"),
    (200, bytes(range(256))),
    (200, b"[" * 100_000),
    (500, b"[" * 100_000),
    (200, b'{"version": "9", "models": {"a": {}}, "gpus": [], "cpu_only_reason": null}'),
    (400, b'{"error": {"message": "\\u001b]0;owned\\u0007"}}'),
]
"""What something else that listens on the port may answer: status and body."""


@pytest.mark.slow
def test_what_is_no_trivet_server_is_told_in_a_line_without_codes(run: Run) -> None:
    current = OTHERS[:1]

    async def other(scope: Scope, _: Receive, send: Send) -> None:
        [(status, content)] = current
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": content})

    with served(other) as server:
        for answer in OTHERS:
            current[:] = [answer]
            for options in ([], ["--json"]):
                result = run("status", *options, server=server)
                assert result.exit_code == 1
                assert result.stderr.startswith("error: ")
                assert "\x1b" not in result.output


@pytest.mark.slow
def test_without_a_service_it_says_how_to_start_one(run: Run) -> None:
    with closed_port() as nowhere:
        result = run("status", server=nowhere)
    assert result.exit_code == 1
    assert "start the service with `trivet serve`" in result.stderr


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache"


def dashboard(port: int) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["dashboard", "--port", str(port)])
    return result.exit_code, result.stdout, result.stderr


def test_the_dashboard_of_a_running_service_and_its_token(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    running = ProcessId.of(psutil.Process(os.getpid()))
    RecordFile(cache, 8123).write(ServiceRecord("http://127.0.0.1:8123", running, str(folder), (8123,)))
    code, _, error = dashboard(8123)
    assert code == 1
    assert "--lean" in error
    (folder / DASHBOARD_FILE).write_text("http://127.0.0.1:8265\n")
    code, output, error = dashboard(8123)
    assert (code, output) == (0, "http://127.0.0.1:8265\n")
    assert "auth_token" in error


def test_no_service_on_that_port_has_no_dashboard(cache: Path) -> None:
    code, _, error = dashboard(8124)
    assert code == 1
    assert "no service of this user runs on port 8124" in error


def lanes(ready: bool, detail: str = "") -> dict[str, object]:
    return {"route": "cpu", "lanes": {"cpu": {"ready": ready, "device": "cpu", "detail": detail}}}


def test_the_start_is_described_by_what_it_waits_for() -> None:
    models = {"embedder": lanes(True), "reranker": lanes(False, "starting"), "classifier": lanes(False)}
    assert describe({"models": models}) == "1 of 3 models ready; waiting for: reranker (starting), classifier"
    assert describe({"models": {"embedder": lanes(True)}}) is None
    assert describe({"error": {"message": "no ingress replica is available"}}) is None
    assert describe([]) is None


def test_ctrl_c_in_any_command_ends_it_with_130() -> None:
    app = typer.Typer(cls=CommandGroup)

    @app.callback()
    def options() -> None:
        """Handle nothing: one command alone would not make a group."""

    @app.command("wait")
    def wait() -> None:
        raise KeyboardInterrupt

    result = CliRunner().invoke(app, ["wait"])
    assert result.exit_code == 130
    assert result.stderr == "interrupted\n"
