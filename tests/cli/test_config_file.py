"""The configuration that applies: the file, the folder's, or the shipped one, with the command line's changes."""

import socket
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from trivet.cli import main
from trivet.cli.config_file import absolute_paths, chosen_file, read_serve_file
from trivet.cli.preparing import stamp_of
from trivet.cli.serve import obstacle
from trivet.config import AppConfig
from trivet.errors import ConfigError
from trivet.paths import shipped_config


def test_without_a_file_the_shipped_one_applies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert chosen_file(None) == shipped_config()
    Path("serve_config.yaml").touch()
    assert chosen_file(None) == Path("serve_config.yaml")
    assert chosen_file(Path("a.yaml")) == chosen_file(None, Path("a.yaml")) == Path("a.yaml")
    with pytest.raises(typer.BadParameter, match="once"):
        chosen_file(Path("a.yaml"), Path("a.yaml"))


def test_the_command_line_takes_precedence() -> None:
    file = read_serve_file(shipped_config(), host="0.0.0.0", port=8123, device="simulated")
    written = yaml.safe_load(file.text())
    assert file.url == "http://127.0.0.1:8123"
    assert written["http_options"] == {"host": "0.0.0.0", "port": 8123, "request_timeout_s": 310}
    assert written["applications"][0]["args"]["device"] == file.config.device == "simulated"


def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert read_serve_file(shipped_config(), host="::1").url == "http://[::1]:8000"


def test_a_wrong_device_is_named() -> None:
    result = CliRunner().invoke(main, ["serve", "--device", "gpu"])
    assert result.exit_code == 1
    assert "device" in result.output


def test_relative_paths_are_relative_to_the_folder_of_the_start(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    given = {
        "embedder": {"model": "mine"},
        "reranker": {"model": "BAAI/bge-reranker-base"},
        "pickled_models": ["mine", "BAAI/bge-reranker-base"],
        "serving": {"models_dir": "models", "cache_dir": "~/cache"},
        "api": {"keys_file": "/etc/keys"},
        "cache": {"dir": "results", "memory": 0},
    }
    found = absolute_paths(given, tmp_path)
    assert found == {
        "embedder": {"model": str(tmp_path / "mine")},
        "reranker": {"model": "BAAI/bge-reranker-base"},
        "pickled_models": [str(tmp_path / "mine"), "BAAI/bge-reranker-base"],
        "serving": {"models_dir": str(tmp_path / "models"), "cache_dir": "~/cache"},
        "api": {"keys_file": "/etc/keys"},
        "cache": {"dir": str(tmp_path / "results"), "memory": 0},
    }
    AppConfig.model_validate(found)


def test_what_was_prepared_is_prepared_again_when_the_application_changes() -> None:
    first = stamp_of(read_serve_file(shipped_config()))
    assert first == stamp_of(read_serve_file(shipped_config(), port=8123, host="0.0.0.0"))
    assert first != stamp_of(read_serve_file(shipped_config(), device="cpu"))


def test_a_written_configuration_is_the_shipped_one(tmp_path: Path) -> None:
    target = tmp_path / "serve_config.yaml"
    result = CliRunner().invoke(main, ["init", str(target)])
    assert result.exit_code == 0, result.output
    assert yaml.safe_load(target.read_text()) == yaml.safe_load(shipped_config().read_text())
    assert "make serve" not in target.read_text()
    target.write_text("mine")
    refused = CliRunner().invoke(main, ["init", str(target)])
    assert refused.exit_code == 1
    assert target.read_text() == "mine"
    assert CliRunner().invoke(main, ["init", str(target), "--force"]).exit_code == 0
    assert target.read_text() != "mine"
    folder = CliRunner().invoke(main, ["init", str(tmp_path)])
    assert folder.exit_code == 1
    assert "is a folder" in folder.stderr
    assert "--force" not in folder.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"- a", "must be an object"),
        (b"applications: a", "`applications` must be a list with one entry"),
        (b"applications: [a]", "applications[0] must be an object"),
        (b"applications: [{args: [1]}]", "applications[0].args must be an object"),
        (b"http_options: 1\napplications: [{}]", "http_options must be an object"),
        (b"http_options: {port: 0}\napplications: [{}]", "http_options.port"),
        (b"http_options: {port: 99999}\napplications: [{}]", "http_options.port"),
        (b"http_options: {port: eighty}\napplications: [{}]", "http_options.port"),
        (b"http_options: {port: null}\napplications: [{}]", "http_options.port"),
        (b"http_options: {port: true}\napplications: [{}]", "http_options.port"),
        (b"http_options: {host: [a]}\napplications: [{}]", "http_options.host"),
        (b"http_options: {host: ''}\napplications: [{}]", "http_options.host"),
        (b"[" * 1500, "nested too deeply"),
        (b"\x7fELF\xff\xfe", "utf-8"),
        (b"a: {b", "not YAML"),
        (b"a: !!python/object/apply:os.system [id]", "not YAML"),
        (b"&a [*a]", "must be an object"),
        (b"applications: [{args: {device: cpu, device: cuda}}]", "'device' is given twice"),
        (b"applications: [{args: {relations: {a: b, c: d, 'a': e}}}]", "'a' is given twice"),
        (b"applications: [{}]\napplications: [{}]", "'applications' is given twice"),
        (b"applications: [{args: {embedder: {gpu_fraction: 0.9}}}]", "args: gpu_fraction of embedder, reranker"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "serve.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_serve_file(file)
    assert said in refused.value.message
    assert "\n" not in refused.value.message


def test_a_merged_object_may_repeat_what_it_merges(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("applications: [{args: {embedder: &a {model: x, max_tokens: 9}, reranker: {<<: *a, model: y}}}]")
    reranker = read_serve_file(file).config.reranker
    assert (reranker.model, reranker.max_tokens) == ("y", 9)


def test_an_empty_host_on_the_command_line_is_not_every_interface() -> None:
    with pytest.raises(ConfigError, match=r"http_options\.host"):
        read_serve_file(shipped_config(), host="")


def test_a_port_that_cannot_be_had_is_known_before_the_start() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # not even listening
        file = read_serve_file(shipped_config(), port=taken.getsockname()[1])
        assert "is in use" in (obstacle(file) or "")
    assert obstacle(file) is None
    assert "--host" in (obstacle(read_serve_file(shipped_config(), host="192.0.2.1")) or "")
    assert "--host" in (obstacle(read_serve_file(shipped_config(), host="a\0b")) or "")


def test_what_a_start_needs_is_checked_before_the_models_are_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivet.cli.serve._handle_signals", lambda: None)  # the test's own process keeps its handlers
    keys = tmp_path / "keys"
    keys.write_text("ann oops", encoding="utf-8")
    file = tmp_path / "serve.yaml"
    args = {"device": "cpu", "api": {"keys_file": str(keys)}, "serving": {"cache_dir": str(tmp_path / "cache")}}
    file.write_text(yaml.safe_dump({"applications": [{"args": args}]}), encoding="utf-8")
    refused = CliRunner().invoke(main, ["serve", str(file)])
    assert refused.exit_code == 1
    assert "line 1: expected" in " ".join(refused.output.split())
    assert "[concurrent=N]" in refused.output  # not taken for the terminal's markup
    assert "[/red]" in CliRunner().invoke(main, ["serve", "[/red].yaml"]).output
    wrong = CliRunner().invoke(main, ["serve", "--ray-env", str(tmp_path)])
    assert wrong.exit_code == 1
    assert "--ray-env" in wrong.output
    assert not (tmp_path / "cache").exists()
