import re
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.support.published import bert, several_vectors
from trivet.cli.config_file import read_serve_file
from trivet.cli.plan import plan_command
from trivet.config import CpuConfig
from trivet.doctor import machine
from trivet.units import GIB, MIB
from trivet.vram.contexts import keep_context
from trivet.vram.planning.configuration import configuration
from trivet.vram.planning.facts import CATALOGUE
from trivet.vram.types import Observation

APP = typer.Typer()
APP.command()(plan_command)
FLAGSHIP = "nomic-embed-text-v2-moe,bge-reranker-base,ModernBERT-large-zeroshot-v2.0"


def test_a_plan_that_fits_is_a_table() -> None:
    ran = CliRunner().invoke(APP, ["--vram", "8GiB", "--models", FLAGSHIP])
    assert ran.exit_code == 0, ran.output
    assert "nomic-embed-text-v2-moe" in ran.stdout
    assert "16,384" in ran.stdout
    assert "the GPU" in ran.stdout


def test_a_plan_that_does_not_fit_says_why_and_exits_with_one() -> None:
    ran = CliRunner().invoke(APP, ["--vram", "4GiB", "--models", FLAGSHIP])
    assert ran.exit_code == 1
    assert ran.stdout == ""
    assert "5.2 GiB needed" in ran.stderr
    assert "nearest preset that fits is cpu" in ran.stderr


@pytest.mark.parametrize("preset", ["8gb", "12gb", "24gb"])
def test_presets_plan_for_their_own_gpu(preset: str) -> None:
    for more in ([], ["--smaller"]):
        ran = CliRunner().invoke(APP, ["--preset", preset, *more])
        assert ran.exit_code == 0, ran.output
        assert f"{preset.removesuffix('gb')} GiB" in ran.stdout


def test_the_cpu_preset_divides_nothing() -> None:
    ran = CliRunner().invoke(APP, ["--preset", "cpu"])
    assert ran.exit_code == 0
    assert "all-MiniLM-L6-v2" in ran.stdout


def test_the_cpu_preset_on_a_gpu_divides_that_gpu() -> None:
    ran = CliRunner().invoke(APP, ["--preset", "cpu", "--vram", "8GiB", "--external", "4GiB"])
    assert ran.exit_code == 0, ran.output
    assert "left to others" in ran.stdout


def test_a_gpu_that_no_preset_fits_is_named() -> None:
    for arguments, said in (
        (["--vram", "2GiB"], "The GPU has 2 GiB:"),
        (["--vram", "8GiB", "--external", "5GiB"], "5 GiB"),
    ):
        ran = CliRunner().invoke(APP, arguments)
        assert ran.exit_code == 0, ran.output
        assert "no GPU to divide" in ran.stdout
        assert said in ran.stderr


def test_without_models_the_largest_preset_that_fits_is_planned() -> None:
    for vram, expected in (("8GiB", "ModernBERT-large"), ("5GiB", "gte-modernbert-base"), ("1GiB", "all-MiniLM-L6-v2")):
        ran = CliRunner().invoke(APP, ["--vram", vram])
        assert ran.exit_code == 0, ran.output
        assert expected in ran.stdout
    occupied = CliRunner().invoke(APP, ["--vram", "8GiB", "--external", "3GiB"])
    assert "gte-modernbert-base" in occupied.stdout


def test_what_others_use_is_the_presets_where_it_is_not_known() -> None:
    for vram, left in (("8GiB", "1 GiB"), ("10GiB", "1 GiB"), ("12GiB", "5 GiB")):
        ran = CliRunner().invoke(APP, ["--vram", vram])
        assert "ModernBERT-large" in ran.stdout
        assert re.search(rf"{left} +left to others|left to others +{left}", ran.stdout), ran.stdout
    small = CliRunner().invoke(APP, ["--vram", "5GiB"])
    assert "Nothing is left to other processes" in small.stderr


@pytest.mark.parametrize(("option", "size"), [("--external", "1GiB"), ("--context", "400MiB")])
def test_what_a_preset_without_a_gpu_cannot_use_is_refused(option: str, size: str) -> None:
    ran = CliRunner().invoke(APP, ["--preset", "cpu", option, size])
    assert ran.exit_code == 2
    assert option in ran.output
    assert CliRunner().invoke(APP, ["--preset", "cpu", "--vram", "8GiB", option, size]).exit_code == 0


def test_without_anything_this_machines_gpu_is_planned() -> None:
    """Here without one, or with any: the command says what it found."""
    ran = CliRunner().invoke(APP, [])
    assert ran.exit_code == 0, ran.output
    assert "GPU" in ran.stderr


def test_a_context_that_was_measured_here_is_planned_with(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = Observation.unknown(at_s=0, device="0: a GPU", reason="")
    known = replace(known, unknown_reason=None, total_bytes=12 * GIB, free_bytes=12 * GIB)
    monkeypatch.setattr(machine, "read_gpu", lambda: known)
    monkeypatch.setattr(machine, "driver_and_gpu", lambda: "a GPU, driver 1")
    monkeypatch.setenv("TRIVET_CACHE", str(tmp_path))
    assert "(assumed: 450 MiB)" in CliRunner().invoke(APP, []).stdout
    keep_context(tmp_path, "a GPU, driver 1", 700 * MIB)
    ran = CliRunner().invoke(APP, [])
    assert "(measured on this GPU: 700 MiB)" in ran.stdout, ran.output
    assert ran.stdout.count("700 MiB") == 4  # of each process, too
    assert "(assumed: 500 MiB)" in CliRunner().invoke(APP, ["--context", "500MiB"]).stdout
    assert "(assumed: 450 MiB)" in CliRunner().invoke(APP, ["--vram", "12GiB"]).stdout  # it may be another GPU


@pytest.mark.parametrize(
    "arguments", [["--preset", "8gb"], ["--vram", "1GiB"], ["--vram", "8GiB", "--models", FLAGSHIP]]
)
def test_a_written_configuration_is_valid_and_has_the_plans_models(arguments: list[str], tmp_path: Path) -> None:
    file = tmp_path / "planned.yaml"
    ran = CliRunner().invoke(APP, [*arguments, "--write", str(file)])
    assert ran.exit_code == 0, ran.output
    config = read_serve_file(file).config
    assert config.embedder.model in CATALOGUE
    assert config.embedder.model.split("/")[-1] in ran.stdout
    assert config.device == ("cpu" if "1GiB" in arguments else "auto")
    again = CliRunner().invoke(APP, [*arguments, "--write", str(file)])
    assert again.exit_code == 1
    assert "File exists" in again.stderr


@pytest.mark.parametrize(
    ("embedder", "prompts"),
    [
        ("intfloat/multilingual-e5-small", {"query": "query: ", "document": "passage: "}),
        (
            "intfloat/multilingual-e5-large-instruct",
            {"query": "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "},
        ),
        ("BAAI/bge-small-en-v1.5", {"query": "Represent this sentence for searching relevant passages: "}),
        ("BAAI/bge-reranker-base", None),
        ("sentence-transformers/all-MiniLM-L6-v2", None),
    ],
)
def test_a_written_configuration_has_the_prompts_of_known_models(
    embedder: str, prompts: dict[str, str] | None, tmp_path: Path
) -> None:
    file = tmp_path / "planned.yaml"
    file.write_text(configuration([embedder, "r", "c"], None, CpuConfig(), file=str(file)))
    assert read_serve_file(file).config.embedder.prompts == prompts


@pytest.mark.parametrize("name", ["a b #c", "a: b", "2024", "true", "ünï '\"{", "- a"])
def test_a_written_configuration_names_folders_as_they_are(name: str, tmp_path: Path) -> None:
    file = tmp_path / "my plan.yaml"
    file.write_text(configuration([name, "BAAI/bge-reranker-base", f"x/{name}"], None, CpuConfig(), file=str(file)))
    config = read_serve_file(file).config
    assert (config.embedder.model, config.classifier.model) == (name, f"x/{name}")
    assert f"--config '{file}'" in file.read_text()
    assert "model: BAAI/bge-reranker-base\n" in file.read_text()


def test_a_folder_that_yaml_cannot_name_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "c")]
    for folder in folders:
        bert.write_minilm(folder)
    folders[0] = folders[0].rename(tmp_path / "\udcff")
    file = tmp_path / "planned.yaml"
    ran = CliRunner().invoke(APP, ["--vram", "8GiB", "--models", ",".join(map(str, folders)), "--write", str(file)])
    assert ran.exit_code == 2
    assert not file.exists()


def test_a_plan_describes_models_that_are_here(tmp_path: Path) -> None:
    folder = tmp_path / "small-embedder"
    bert.write_minilm(folder)
    (folder / "README.md").write_text("---\nlicense: mit\nlanguage: [en, de]\n---\n")
    ran = CliRunner().invoke(APP, ["--vram", "8GiB", "--models", f"{folder},all-MiniLM-L6-v2"])
    assert ran.exit_code == 0, ran.output
    [row] = [line for line in ran.stdout.splitlines() if line.startswith("small-embedder") and "packed" in line]
    assert row.split()[-3:] == ["mit", "en,", "de"]
    assert "KiB" in row
    [unknown] = [line for line in ran.stdout.splitlines() if line.startswith("all-MiniLM-L6-v2") and "?" in line]
    assert "MiB" in unknown


def test_folders_may_end_in_the_same_name_and_be_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for task in ("embedder", "reranker"):
        bert.write_minilm(tmp_path / task / "v1")
    ran = CliRunner().invoke(APP, ["--vram", "8GiB", "--models", f"{tmp_path}/embedder/v1/,~/reranker/v1"])
    assert ran.exit_code == 0, ran.output
    assert len([line for line in ran.stdout.splitlines() if line.startswith("v1 ")]) == 4  # two rows of each table


def test_a_plan_says_why_a_gpu_pads_a_model(tmp_path: Path) -> None:
    folder = tmp_path / "small-colbert"
    several_vectors.write_colbert_stanford(folder)
    ran = CliRunner().invoke(APP, ["--vram", "8GiB", "--models", str(folder)])
    assert "small-colbert is padded: it gives more than one vector" in ran.stdout


def test_a_configuration_needs_three_models(tmp_path: Path) -> None:
    arguments = ["--vram", "8GiB", "--models", "bge-reranker-base", "--write", str(tmp_path / "planned.yaml")]
    assert CliRunner().invoke(APP, arguments).exit_code == 2


def test_assumptions_can_be_changed() -> None:
    arguments = ["--vram", "6GiB", "--models", FLAGSHIP]
    assert CliRunner().invoke(APP, arguments).exit_code == 0
    assert CliRunner().invoke(APP, [*arguments, "--external", "1GiB"]).exit_code == 1
    assert CliRunner().invoke(APP, [*arguments, "--external", "1GiB", "--context", "250MiB"]).exit_code == 0
    assert CliRunner().invoke(APP, [*arguments, "--dtype", "fp32"]).exit_code == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--models", FLAGSHIP],
        ["--preset", "8gb", "--models", FLAGSHIP],
        ["--preset", "9gb"],
        ["--vram", "eight", "--models", FLAGSHIP],
        ["--vram", "8GiB", "--models", FLAGSHIP, "--dtype", "int3"],
        ["--vram", "8GiB", "--models", FLAGSHIP, "--smaller"],
    ],
)
def test_wrong_usage_has_its_own_exit_code(arguments: list[str]) -> None:
    assert CliRunner().invoke(APP, arguments).exit_code == 2


def test_models_are_divided_among_several_gpus() -> None:
    ran = CliRunner().invoke(APP, ["--gpus", "4GiB,4GiB,1GiB", "--models", FLAGSHIP])
    assert ran.exit_code == 0, ran.output
    assert all(name in ran.stdout for name in FLAGSHIP.split(","))
    assert ran.stdout.count("the GPU  ") == 2
    assert "GPU 2: no model" in ran.stdout
    refused = CliRunner().invoke(APP, ["--gpus", "2GiB,1GiB", "--models", FLAGSHIP])
    assert refused.exit_code == 1
    assert "no way to divide them among GPUs of 2 GiB, 1 GiB fits" in refused.stderr
    assert CliRunner().invoke(APP, ["--gpus", "8GiB", "--vram", "8GiB", "--models", FLAGSHIP]).exit_code == 2


EIGHT = ["--vram", "8GiB", "--models", FLAGSHIP, "--cpu-precision", "int8"]


def test_a_plan_states_the_host_memory() -> None:
    ran = CliRunner().invoke(APP, EIGHT)
    assert ran.exit_code == 0, ran.output
    assert "Host memory: the service takes about " in ran.stdout
    assert "CPU replicas of each model: 1;" in ran.stdout
    assert ran.stderr == ""


def test_a_plan_warns_where_the_peak_does_not_fit_the_host_memory_and_refuses_where_the_rest_does_not() -> None:
    warned = CliRunner().invoke(APP, [*EIGHT, "--ram", "7GiB"])
    assert warned.exit_code == 0, warned.output
    assert "Warning: 7 GiB of host memory available, " in warned.stderr
    assert "needed while all CPU replicas compute" in warned.stderr
    refused = CliRunner().invoke(APP, [*EIGHT, "--ram", "4GiB"])
    assert refused.exit_code == 1
    assert "Cannot plan: 4 GiB of host memory available, " in refused.stderr
    assert "needed at rest" in refused.stderr
    on_cpu = CliRunner().invoke(APP, ["--preset", "cpu", "--ram", "1GiB"])
    assert on_cpu.exit_code == 1
    roomy = CliRunner().invoke(APP, [*EIGHT, "--ram", "32GiB"])
    assert (roomy.exit_code, roomy.stderr) == (0, "")


def test_cpu_replicas_are_planned_and_written(tmp_path: Path) -> None:
    file = tmp_path / "planned.yaml"
    ran = CliRunner().invoke(APP, [*EIGHT, "--cpu-replicas", "1-4", "--write", str(file)])
    assert ran.exit_code == 0, ran.output
    assert "CPU replicas of each model: 1 to 4;" in ran.stdout
    cpu = read_serve_file(file).config.cpu
    assert (cpu.replicas.min, cpu.replicas.max, cpu.precision) == (1, 4, "int8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cpu-replicas", "few"], "'few' is neither a number of replicas nor bounds such as 1-4"),
        (["--cpu-replicas", "4-1"], "min (4) exceeds max (1)"),
        (["--cpu-replicas", "0"], "greater than 0"),
        (["--cpu-precision", "fp8"], "cpu.precision"),
        (["--ram", "much"], "'much' is not a size"),
        (["--models", "bge-reranker-base", "--ram", "8GiB"], "--ram needs three models"),
    ],
)
def test_a_wrong_host_is_named(arguments: list[str], message: str) -> None:
    ran = CliRunner().invoke(APP, [*EIGHT, *arguments], env={"COLUMNS": "200"})
    assert ran.exit_code == 2
    assert message in ran.stderr
