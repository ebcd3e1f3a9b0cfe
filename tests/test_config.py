"""The configuration: unknown keys by name, units, and a YAML file that documents every key with its default."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from trivet.cli.config_file import read_serve_file
from trivet.config import AppConfig
from trivet.errors import ConfigError

ROOT = Path(__file__).parent.parent
SHIPPED = [ROOT / "serve_config.yaml", *sorted((ROOT / "configs").glob("*.yaml"))]

SERVE_KEYS = {"proxy_location", "http_options", "logging_config", "applications"}
APPLICATION_KEYS = {"name", "route_prefix", "import_path", "args"}


def args_of(path: Path) -> dict[str, Any]:
    content = yaml.safe_load(path.read_text())
    args: dict[str, Any] = content["applications"][0]["args"]
    return args


def paths(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict) and key != "relations":
            yield from paths(value, f"{prefix}{key}.")


def declared(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}"
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from declared(field.annotation, f"{prefix}{name}.")


@pytest.mark.parametrize(
    ("args", "key"),
    [({"devise": "cpu"}, "devise"), ({"cpu": {"precison": "bf16"}}, "cpu.precison"), ({"vram": {"x": 1}}, "vram.x")],
)
def test_an_unknown_key_is_refused_by_name(args: dict[str, Any], key: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AppConfig.model_validate(args)
    assert ".".join(map(str, caught.value.errors()[0]["loc"])) == key


def test_the_yaml_file_shows_every_key_and_its_default() -> None:
    args = args_of(ROOT / "serve_config.yaml")
    assert set(paths(args)) == set(declared(AppConfig))
    assert AppConfig.model_validate(args) == AppConfig()


def test_every_key_in_the_yaml_file_has_a_comment() -> None:
    lines = (ROOT / "serve_config.yaml").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.strip() == "args:")
    commented: set[str] = set()
    for line in lines[start + 1 :]:
        if "#" in line and ":" in line:
            commented.add(line.split(":")[0].strip())
    leaves = {path.split(".")[-1] for path in declared(AppConfig) if "." in path or path in ("device",)}
    # The three models have the same keys, explained once; the bounds of the replicas stand on one line.
    assert leaves - commented == {"min", "max"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_shipped_files_validate_and_have_no_misspelt_field(path: Path) -> None:
    # Ray ignores unknown fields silently, so our own files are linted here.
    content = yaml.safe_load(path.read_text())
    assert set(content) <= SERVE_KEYS
    assert set(content["applications"][0]) <= APPLICATION_KEYS
    expected_host = "0.0.0.0" if path.name == "cluster.yaml" else "127.0.0.1"
    assert content["http_options"]["host"] == expected_host
    read_serve_file(path)


def test_sizes_are_written_as_people_write_them() -> None:
    config = AppConfig.model_validate({"vram": {"reroute_below": "250MiB", "resume_above": "2GiB"}})
    assert config.vram.reroute_below == 250 * 1024**2
    assert config.vram.resume_above == 2 * 1024**3


@pytest.mark.parametrize(
    "args",
    [
        {"vram": {"reroute_below": "1GiB", "resume_above": "1GiB"}},
        {"embedder": {"gpu_fraction": 0.9}},
        {"relations": {"only": "one"}},
        {"cpu": {"precision": "fp64"}},
        {"limits": {"max_inputs": 0}},
        {"embedder": {"max_tokens": 2}},
        {"embedder": {"model": "a\0b"}},
        {"serving": {"cache_dir": "a\0b"}},
        {"cpu": {"threads": 10**20}},
        {"cpu": {"token_budget": 10**10}},
        {"limits": {"max_queued_tokens": 10**20}},
        {"limits": {"request_timeout_s": float("inf")}},
        {"reranker": {"blend": {"cosine_weight": 1, "shift": float("nan")}}},
        {"reranker": {"blend": {"cosine_weight": 1, "logit_floor": 0, "trusted_between": [0.5, 0.3]}}},
        {"reranker": {"blend": {"cosine_weight": 1, "trusted_between": [0.3, 0.5]}}},
        {"serving": {"cache_dir": ""}},
        {"api": {"keys_file": ""}},
    ],
)
def test_contradictions_are_refused(args: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AppConfig.model_validate(args)


def test_the_command_line_names_the_key_too(tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text("applications: [{import_path: 'app:build', args: {cpu: {treads: 2}}}]")
    with pytest.raises(ConfigError, match=r"cpu\.treads"):
        read_serve_file(file)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"cpu": {"precision": "int4"}}, "'auto', 'fp32', 'bf16' or 'int8'"),
        ({"gpu": {"dtype": "int8"}}, "'auto', 'bf16', 'fp16' or 'fp32'"),
        ({"gpu": {"placement": "even"}}, "'spread' or 'pack'"),
        ({"gpu": {"placement": {"embeder": 0}}}, "'embedder', 'reranker' or 'classifier'"),
        ({"gpu": {"placement": {"embedder": -1}}}, "greater than or equal to 0"),
    ],
)
def test_a_refused_value_is_told_all_that_are_allowed(args: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        AppConfig.model_validate(args)
    assert said in caught.value.errors()[0]["msg"]


def test_cpu_replicas_are_a_number_or_bounds() -> None:
    def bounds(given: object) -> tuple[int, int]:
        replicas = AppConfig.model_validate({"cpu": {"replicas": given}}).cpu.replicas
        return replicas.min, replicas.max

    assert (bounds(3), bounds({"min": 2, "max": 4}), bounds({"max": 4})) == ((3, 3), (2, 4), (1, 4))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (0, r"cpu\.replicas\.min[\s\S]*greater than 0"),
        ({"min": 3, "max": 2}, r"cpu\.replicas[\s\S]*min \(3\) exceeds max \(2\)"),
        ({"min": 2}, r"cpu\.replicas[\s\S]*min \(2\) exceeds max \(1\)"),
        ({"min": 1, "most": 2}, r"cpu\.replicas\.most"),
        (True, r"cpu\.replicas[\s\S]*True is neither a number of replicas nor bounds such as \{min: 1, max: 4\}"),
        ("auto", r"cpu\.replicas[\s\S]*'auto' is neither"),
        (None, r"cpu\.replicas[\s\S]*None is neither"),
    ],
)
def test_other_cpu_replicas_are_refused_by_name(given: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        AppConfig.model_validate({"cpu": {"replicas": given}})


def test_configuration_is_frozen() -> None:
    with pytest.raises(ValidationError):
        AppConfig().device = "cpu"  # type: ignore[misc]


def test_a_prefix_that_trivet_does_not_serve_under_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "serve_config.yaml"
    file.write_text("applications: [{import_path: 'app:build', route_prefix: /models}]")
    with pytest.raises(ConfigError, match="'/models'; Trivet's paths begin at /"):
        read_serve_file(file)


def test_former_names_are_accepted_and_reported(caplog: pytest.LogCaptureFixture) -> None:
    given = {
        "vram": {"park_after_s": 7.0, "ollama_url": "http://127.0.0.1:11434"},
        "simulated": {"foreign": [[0.0, "1GiB"]]},
        "absent_relation": "none",
        "relations": {"none": "Nothing.", "some": "Something."},
    }
    config = AppConfig.model_validate(given)
    assert config.vram.offload_after_s == 7.0
    assert config.simulated.external[0][1] == 1024**3
    assert config.no_relation == "none"
    assert config.vram.ollama_hosts == ("http://127.0.0.1:11434",)
    renamed = {
        "park_after_s": "offload_after_s",
        "ollama_url": "ollama_hosts",
        "foreign": "external",
        "absent_relation": "no_relation",
    }
    for former, now in renamed.items():
        assert f"the configuration key {former} is now called {now}" in caplog.text


def test_a_key_under_both_of_its_names_is_refused() -> None:
    with pytest.raises(ValidationError, match="park_after_s is the former name of offload_after_s"):
        AppConfig.model_validate({"vram": {"park_after_s": 7.0, "offload_after_s": 8.0}})
