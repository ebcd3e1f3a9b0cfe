"""The token of Ray's dashboard and calls: private, kept, and required."""

import stat
from pathlib import Path

import httpx
import pytest

from deployments.environment.token import ensure_private_token, readable_by_others, token_file
from tests.security.conftest import Watched
from tests.security.test_sockets import listening


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_new_token_is_private_and_long(tmp_path: Path) -> None:
    file = tmp_path / ".ray" / "auth_token"
    ensure_private_token(file)
    assert mode(file) == 0o600
    assert len(file.read_text()) == 64


def test_an_existing_token_is_kept_and_made_private(tmp_path: Path) -> None:
    file = tmp_path / "auth_token"
    file.write_text("kept")
    file.chmod(0o644)
    assert readable_by_others(file)
    ensure_private_token(file)
    assert not readable_by_others(file)
    assert (file.read_text(), mode(file)) == ("kept", 0o600)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, "home/.ray/auth_token"),
        ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/run/token"}, "/run/token"),
        ({"RAY_AUTH_TOKEN": "in the environment"}, None),
        ({"RAY_AUTH_MODE": "disabled"}, None),
    ],
)
def test_the_path_from_which_ray_reads_the_token(environ: dict[str, str], expected: str | None) -> None:
    assert token_file(environ, Path("home")) == (None if expected is None else Path(expected))


@pytest.mark.ray
def test_a_started_service_made_its_token_private(watched: Watched) -> None:
    assert mode(watched.token) == 0o600


@pytest.mark.ray
def test_the_dashboard_requires_the_token(watched: Watched) -> None:
    """Except for its metrics port, which is missing if another cluster on this machine has it."""
    answers: dict[int, httpx.Response] = {}
    for port in listening(watched.service.root)["ray dashboard", "loopback"]:
        try:
            answers[port] = httpx.get(f"http://127.0.0.1:{port}/api/jobs/", timeout=10)
        except httpx.HTTPError:
            continue  # not an HTTP port
    given = [answer for answer in answers.values() if answer.status_code == 200]
    assert all(answer.text.startswith("# HELP ") for answer in given)  # Prometheus' client: the same at every path
    [port] = [port for port, answer in answers.items() if answer.status_code == 401]
    headers = {"authorization": f"Bearer {watched.token.read_text()}"}
    assert httpx.get(f"http://127.0.0.1:{port}/api/jobs/", headers=headers, timeout=10).status_code == 200
