"""The built wheel in environments of its own: the client alone, and a service from an empty folder."""

import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from bench.support.ports import free_port

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[2]
MOST_CLIENT_BYTES = 60 << 20
MOST_START = 2.0
"""Processor time of a start, as a multiple of that of importing the two libraries that the client is made of."""
START_LIMIT_S = 300.0
OWN_TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack")
"""What a new virtual environment has already."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip(sys.executable, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT))
    [built] = folder.glob("*.whl")
    return built


def pip(python: str | Path, *arguments: str) -> None:
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([str(python), "-m", "pip", *arguments[:1], *quiet, *arguments[1:]], check=True)


def environment(folder: Path, *requirements: str) -> Path:
    """Make a virtual environment with these requirements at their pinned versions; return the folder of programs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip(folder / "bin" / "python", "install", "-c", str(ROOT / "constraints.txt"), *requirements)
    return folder / "bin"


def clean_variables(**more: str) -> dict[str, str]:
    """Return this process's variables without those that would let a program find this tree."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more


@pytest.fixture(scope="module")
def client_only(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("client") / "venv", str(wheel))


@pytest.fixture(scope="module")
def with_server(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return environment(tmp_path_factory.mktemp("server") / "venv", f"{wheel}[serve]")


def test_nothing_lies_outside_of_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        tops = {name.partition("/")[0] for name in opened.namelist()}
    assert tops == {"trivet", f"{wheel.name.partition('-py3')[0]}.dist-info"}


def test_the_client_alone_is_small(client_only: Path) -> None:
    [packages] = (client_only.parent / "lib").glob("python*/site-packages")
    installed = [
        file
        for top in packages.iterdir()
        if not top.name.startswith(OWN_TOOLS)
        for file in (top.rglob("*") if top.is_dir() else [top])
        if file.is_file()
    ]
    assert sum(file.stat().st_size for file in installed) <= MOST_CLIENT_BYTES


@pytest.mark.parametrize("arguments", [("-c", "import trivet.client"), ("-m", "trivet", "--help")], ids=" ".join)
def test_it_starts_quickly(client_only: Path, arguments: tuple[str, ...], tmp_path: Path) -> None:
    def used_s(*arguments: str) -> float:
        before = os.times()
        subprocess.run(
            [str(client_only / "python"), *arguments],
            cwd=tmp_path,
            env=clean_variables(),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    # In turn, and the least of each: the machine's own speed changes, and other work on it does not count.
    starts = [(used_s(*arguments), used_s("-c", "import httpx, pydantic.main")) for _ in range(10)]
    assert min(start for start, _ in starts) <= MOST_START * min(libraries for _, libraries in starts)


@contextmanager
def serving(trivet: Path, folder: Path, port: int) -> Iterator[str]:
    """Run `trivet serve` in an otherwise empty folder until the block ends."""
    log = folder.parent / "log"
    with log.open("wb") as output:
        child = subprocess.Popen(
            [str(trivet), "serve", "--port", str(port), "--device", "cpu"],
            cwd=folder,
            env=clean_variables(TRIVET_CACHE=str(folder.parent / "cache")),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        until_s = time.monotonic() + START_LIMIT_S
        ready = False
        while not ready:
            assert child.poll() is None, log.read_text(errors="replace")
            assert time.monotonic() < until_s, log.read_text(errors="replace")
            with suppress(httpx.TransportError):
                ready = httpx.get(f"{url}/readyz", timeout=10, trust_env=False).status_code == 200
            time.sleep(0.5)
        yield url
    finally:
        if child.poll() is None:
            child.send_signal(signal.SIGINT)
        child.wait(120)
    assert child.returncode == 130, log.read_text(errors="replace")


def test_it_serves_the_starter_models_from_an_empty_folder(with_server: Path, tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    with serving(with_server / "trivet", folder, free_port()) as url, httpx.Client(base_url=url, timeout=60) as http:
        vector = http.post("/v1/embeddings", json={"input": "hello"}).json()["data"][0]["embedding"]
        assert len(vector) == 384
        ranked = http.post("/v1/rerank", json={"query": "who baked", "documents": ["a ship", "the baker baked"]}).json()
        assert ranked["results"][0]["index"] == 1
        labelled = http.post("/v1/classify", json={"input": "a football match", "labels": ["sports", "food"]}).json()
        assert labelled["data"][0]["labels"][0]["label"] == "sports"
    assert list(folder.iterdir()) == []


def test_modules_of_the_callers_folder_are_not_taken_for_trivets(with_server: Path, tmp_path: Path) -> None:
    """Many projects have an `app.py`; Ray would put the folder that the service is started in first."""
    folder = tmp_path / "project"
    (folder / "deployments").mkdir(parents=True)
    for module in ("app.py", "deployments/__init__.py"):
        (folder / module).write_text("raise SystemExit('this is not the module of Trivet')")
    shutil.copy(ROOT / "serve_config.yaml", folder)
    with serving(with_server / "trivet", folder, free_port()) as url:
        assert httpx.get(f"{url}/readyz", timeout=10, trust_env=False).status_code == 200
