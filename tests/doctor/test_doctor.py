"""The doctor's findings about made-up machines, and that it can examine this one."""

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.engine.models.flat.support import write_family
from tests.support.published import bert
from trivet.cli import main
from trivet.config import TASKS, AppConfig
from trivet.doctor.checks import Finding, examine, ranges
from trivet.doctor.machine import Machine, PortUse, RunningService, examine_machine, processor_flags
from trivet.doctor.memory import MemoryNeed, memory_need
from trivet.doctor.models import STARTER_FACTS, gpu_exceptions, known_facts, padded_models, unservable_models
from trivet.vram.types import Observation

GIB = 1024**3

GOOD = Machine(
    cores=8,
    processor_flags=frozenset({"avx2", "avx512_bf16", "avx512_vnni"}),
    memory_bytes=16 * GIB,
    available_bytes=9 * GIB,
    shared_memory_free_bytes=8 * GIB,
    gpu=Observation(at_s=0, device="0: A GPU", total_bytes=8 * GIB, free_bytes=6 * GIB),
    ports=(PortUse(8000, "the service", is_fixed=True), PortUse(8404, "HAProxy's statistics")),
    cache_dir=Path("cache"),
    cache_bytes=GIB,
    disk_free_bytes=80 * GIB,
)
NO_GPU = Observation.unknown(at_s=0, device="none", reason="no driver")


def findings(machine: Machine, subject: str, **config: Any) -> list[Finding]:
    settings = AppConfig.model_validate(config)
    return [one for one in examine(machine, settings, facts=known_facts(settings)) if one.subject == subject]


def finding(machine: Machine, subject: str, **config: Any) -> Finding:
    [found] = findings(machine, subject, **config)
    return found


def test_a_good_machine_has_nothing_to_change() -> None:
    assert {one.level for one in examine(GOOD, AppConfig())} == {"ok"}


@pytest.mark.parametrize(
    ("device", "level"), [("auto", "note"), ("cuda", "problem"), ("cpu", "ok"), ("simulated", "note")]
)
def test_a_machine_without_a_gpu(device: str, level: str) -> None:
    found = finding(replace(GOOD, gpu=NO_GPU), "GPU", device=device)
    assert found.level == level
    assert ("no driver" in found.text) == (device in ("auto", "cuda"))


@pytest.mark.parametrize(
    ("flags", "precision", "level"),
    [
        ({"avx512_bf16"}, "auto", "ok"),
        ({"amx_bf16"}, "bf16", "ok"),
        ({"avx2"}, "auto", "note"),
        ({"avx2"}, "bf16", "problem"),
        ({"avx2"}, "int8", "ok"),
    ],
)
def test_the_precision_that_a_processor_supports(flags: set[str], precision: str, level: str) -> None:
    machine = replace(GOOD, processor_flags=frozenset(flags))
    assert finding(machine, "CPU lane", cpu={"precision": precision}).level == level


@pytest.mark.parametrize(
    ("change", "subject", "word"),
    [
        ({"available_bytes": GIB}, "Memory", "close"),
        ({"shared_memory_free_bytes": 64 << 20}, "/dev/shm", "--shm-size"),
        ({"ports": (PortUse(8000, "the service", True, "nginx, process 7"),)}, "Ports", "another port"),
        ({"disk_free_bytes": GIB}, "Model cache", "serving.cache_dir"),
        ({"cache_is_writable": False}, "Model cache", "serving.cache_dir"),
    ],
)
def test_every_problem_comes_with_advice(change: dict[str, Any], subject: str, word: str) -> None:
    found = finding(replace(GOOD, **change), subject)
    assert found.level == "problem"
    assert word in found.advice


def test_flags_are_read_from_the_first_processor() -> None:
    assert processor_flags("model name\t: X\nflags\t\t: fpu avx2\n\nflags\t\t: other\n") == {"fpu", "avx2"}
    assert processor_flags("") == frozenset()


def test_this_machine_can_be_examined(tmp_path: Path) -> None:
    (tmp_path / "ir.bin").write_bytes(b"x" * 100)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        machine = examine_machine([PortUse(port, "this test")], tmp_path)
    [use] = machine.ports
    assert use.holder is not None
    assert f"process {os.getpid()}" in use.holder
    assert machine.cores >= 1
    assert machine.memory_bytes > machine.available_bytes > 0
    assert machine.cache_bytes == 100
    assert machine.cache_is_writable
    assert examine_machine([], tmp_path / "not" / "yet").cache_is_writable
    assert not examine_machine([], tmp_path / "ir.bin").cache_is_writable
    assert not examine_machine([], tmp_path / "ir.bin" / "below").cache_is_writable


def test_a_port_of_the_administrator_is_in_use_by_no_other_user(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("socket.socket.bind", refused)
    [use] = examine_machine([PortUse(80, "the service")], Path("cache")).ports
    assert use.holder is not None
    assert "administrator" in use.holder


def test_every_simulated_gpu_is_named() -> None:
    simulated = {"gpus": ["8GiB", {"vram": "24GiB"}]}
    assert "of 8 GiB and 24 GiB" in finding(GOOD, "GPU", device="simulated", simulated=simulated).text


def test_a_directory_that_cannot_be_served_is_a_problem(tmp_path: Path) -> None:
    bert.write_minilm(tmp_path / "whole")
    (tmp_path / "no-config").mkdir()
    bert.write_minilm(tmp_path / "no-weights")
    (tmp_path / "no-weights" / "model.safetensors").unlink()
    (tmp_path / "no-weights" / "pytorch_model.bin").touch()
    faults = {
        "whole": None,
        "no-config": "config.json is missing",
        "no-weights": "is a pickle",
        "nowhere": "there is no directory",
    }
    for name, said in faults.items():
        model = str(tmp_path / name)
        config = AppConfig.model_validate({"embedder": {"model": model}})
        unservable = unservable_models(config)
        assert set(unservable) == ({"embedder"} if said else set())
        assert padded_models(config) == {}
        if said:
            [found] = [one for one in examine(GOOD, config, unservable=unservable) if one.subject == "Model, embedder"]
            assert found.level == "problem"
            assert said in found.text
            allowed = AppConfig.model_validate({"embedder": {"model": model}, "pickled_models": [model]})
            assert bool(unservable_models(allowed)) == (name != "no-weights")
    assert unservable_models(AppConfig.model_validate(FLAGSHIPS)) == {}


def test_a_model_in_the_folder_of_models_is_described(tmp_path: Path) -> None:
    (tmp_path / "us" / "ours").mkdir(parents=True)
    (tmp_path / "us" / "ours" / "config.json").write_text('{"model_type": "deberta-v2"}')
    config = AppConfig.model_validate({"classifier": {"model": "us/ours"}, "serving": {"models_dir": str(tmp_path)}})
    assert "deberta-v2" in padded_models(config)["classifier"]


def test_a_missing_folder_of_models_is_a_problem_of_those_it_would_hold(tmp_path: Path) -> None:
    args = {"classifier": {"model": "us/ours"}, "serving": {"models_dir": str(tmp_path / "gone")}}
    unservable = unservable_models(AppConfig.model_validate(args))
    assert unservable == {"classifier": f"there is no directory {tmp_path / 'gone'} (serving.models_dir)"}


@pytest.mark.parametrize("name", ["[/x]", "[red]x"])
def test_a_folder_in_brackets_is_shown_as_it_is(name: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"applications: [{{args: {{device: cpu, serving: {{cache_dir: '{tmp_path}/{name}'}}}}}}]")
    ran = CliRunner().invoke(main, ["doctor", str(file)], env={"COLUMNS": "400"})
    assert f"/{name}: 0 B" in ran.stdout


@pytest.mark.parametrize("key", ["cache_dir", "models_dir"])
def test_the_home_of_nobody_is_one_line(key: str, tmp_path: Path) -> None:
    file = tmp_path / "serve.yaml"
    file.write_text(f"applications: [{{args: {{embedder: {{model: m}}, serving: {{{key}: '~nobody-here/x'}}}}}}]")
    ran = CliRunner().invoke(main, ["doctor", str(file)])
    assert ran.exit_code == 1
    assert "error: ~nobody-here/x" in ran.stderr
    assert unservable_models(AppConfig.model_validate({"embedder": {"model": "~nobody-here/x"}}))


@pytest.mark.parametrize("port", ["http", "99999", "0", "-1", "9" * 5000])
def test_a_variable_that_is_no_port_is_one_line(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_SERVE_HAPROXY_METRICS_PORT", port)
    ran = CliRunner().invoke(main, ["doctor"])
    assert ran.exit_code == 1
    [line] = [line for line in ran.stderr.splitlines() if "error" in line]
    assert "the variable RAY_SERVE_HAPROXY_METRICS_PORT is" in line


def test_a_model_that_a_gpu_pads_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    config = AppConfig.model_validate({"device": "auto", "classifier": {"model": str(tmp_path)}})
    padded = padded_models(config)
    assert set(padded) == {"classifier"}
    found = [one for one in examine(GOOD, config, padded) if one.subject == "GPU, classifier"]
    assert len(found) == 1
    assert "deberta-v2" in found[0].text
    assert padded_models(AppConfig()) == {}


FLAGSHIPS = {
    "embedder": {"model": "nomic-ai/nomic-embed-text-v2-moe"},
    "reranker": {"model": "BAAI/bge-reranker-base"},
    "classifier": {"model": "MoritzLaurer/ModernBERT-large-zeroshot-v2.0"},
}


def test_memory_is_compared_with_the_configured_models() -> None:
    tight = replace(GOOD, available_bytes=3 * GIB, gpu=NO_GPU)
    assert finding(tight, "Memory").level == "ok"
    assert "2 GiB while all CPU replicas compute" in finding(tight, "Memory").text
    assert finding(tight, "Memory", **FLAGSHIPS).level == "problem"
    unknown = finding(GOOD, "Memory", embedder={"model": "somebody/unknown"})
    assert "weights of the embedder" in unknown.text


@pytest.mark.parametrize(
    ("gib", "with_gpu", "cpu", "level", "advice"),
    [
        (12.0, True, {}, "ok", ""),
        (7.0, True, {"rest_after_s": 60}, "note", "cpu.precision: int8"),
        (5.0, True, {"rest_after_s": 60}, "problem", "smaller models"),
        (7.0, True, {}, "problem", "smaller models"),
        (6.0, False, {}, "ok", ""),
        (4.0, False, {}, "problem", "cpu.precision: int8"),
        (7.0, False, {"replicas": {"min": 1, "max": 3}}, "problem", "lower cpu.replicas"),
    ],
)
def test_too_little_memory_is_a_problem_or_a_note_with_numbers(
    gib: float, with_gpu: bool, cpu: dict[str, Any], level: str, advice: str
) -> None:
    gpu = replace(GOOD.gpu, total_bytes=24 * GIB, free_bytes=24 * GIB) if with_gpu else NO_GPU
    machine = replace(GOOD, available_bytes=int(gib * GIB), gpu=gpu)
    found = finding(machine, "Memory", cpu=cpu, **FLAGSHIPS)
    assert (found.level, advice in found.advice) == (level, True), found
    assert f"{gib:g} GiB available" in found.text
    assert "GiB at rest, " in found.text
    assert ("1 to 3" in found.text) == ("replicas" in cpu)


def test_the_estimate_is_near_what_was_measured() -> None:
    """docs/memory.md: 2,133 MiB for the starters, 4,017 MiB for the flagships at int8, on CPU lanes."""

    def need(precision: Any, **config: Any) -> MemoryNeed:
        settings = AppConfig.model_validate(config)
        return memory_need(settings, known_facts(settings), precision, with_gpu=False)

    assert need("bf16").peak_bytes / 2**20 == pytest.approx(2133, rel=0.15)
    assert need("int8", **FLAGSHIPS).peak_bytes / 2**20 == pytest.approx(4017, rel=0.15)
    assert need("bf16", embedder={"model": "somebody/unknown"}).unknown == ("embedder",)


def test_replicas_of_a_simulated_gpu_are_in_the_memory_of_this_machine() -> None:
    def need(device: str) -> MemoryNeed:
        config = AppConfig.model_validate({"device": device, **FLAGSHIPS})
        return memory_need(config, known_facts(config), "bf16", with_gpu=False)

    cpu, simulated = need("cpu"), need("simulated")
    assert simulated.peak_bytes == cpu.peak_bytes + cpu.replica_bytes


@pytest.mark.parametrize(("device", "level"), [("auto", "note"), ("cuda", "problem")])
def test_a_gpu_that_is_too_full_for_the_models(device: str, level: str) -> None:
    full = replace(GOOD, gpu=replace(GOOD.gpu, free_bytes=3 * GIB))
    room = finding(full, "GPU, room", device=device, **FLAGSHIPS)
    assert room.level == level
    assert "5 GiB that other processes use" in room.text
    assert findings(GOOD, "GPU, room", device=device) == []


def test_a_fraction_that_is_smaller_than_the_weights() -> None:
    small = {**FLAGSHIPS, "embedder": {**FLAGSHIPS["embedder"], "gpu_fraction": 0.1}}
    found = finding(GOOD, "GPU, embedder", **small)
    assert found.level == "problem"
    assert "embedder.gpu_fraction" in found.advice


def test_a_context_that_was_measured_counts_instead_of_the_assumed_one() -> None:
    tight = {**FLAGSHIPS, "embedder": {**FLAGSHIPS["embedder"], "gpu_fraction": 0.19}}
    assert findings(GOOD, "GPU, embedder", **tight) == []
    measured = replace(GOOD, context_bytes=GIB)
    assert "weights and context take" in finding(measured, "GPU, embedder", **tight).text
    full = replace(GOOD, gpu=replace(GOOD.gpu, free_bytes=6 * GIB))
    assert findings(full, "GPU, room", **FLAGSHIPS) == []
    assert findings(replace(full, context_bytes=GIB), "GPU, room", **FLAGSHIPS) != []


def test_a_port_that_can_be_another_one_is_no_problem() -> None:
    busy = replace(GOOD, ports=(PortUse(8404, "HAProxy's statistics", holder="haproxy, process 7"),))
    found = finding(busy, "Ports")
    assert found.level == "note"
    assert "8404 (HAProxy's statistics) is in use by haproxy, process 7: the service takes another one" in found.text


def test_a_service_that_runs_is_not_a_problem() -> None:
    busy = (PortUse(8000, "the service", is_fixed=True, holder="haproxy, process 7"),)
    running = RunningService("http://127.0.0.1:8000", 42, (8000, 8404, *range(30_000, 30_100)))
    machine = replace(GOOD, ports=busy, service=running, available_bytes=GIB)
    assert {one.level for one in examine(machine, AppConfig(), facts=known_facts(AppConfig()))} == {"ok"}
    assert finding(machine, "Service").text.endswith("(process 42); its ports: 8000, 8404, 30000-30099")


def test_consecutive_numbers_are_one_range() -> None:
    assert ranges([3, 1, 2, 7]) == ["1-3", "7"]
    assert ranges([]) == []


def test_what_an_old_gpu_does_otherwise_is_named_with_the_reason(tmp_path: Path) -> None:
    write_family("gemma3", tmp_path, labels=None)
    config = AppConfig.model_validate({"device": "auto", "embedder": {"model": str(tmp_path)}})
    assert gpu_exceptions(config, None) == gpu_exceptions(config, (8, 6)) == {}
    exceptions = gpu_exceptions(config, (7, 5))
    old = replace(GOOD, gpu_capability=(7, 5))
    found = [one.text for one in examine(old, config, exceptions=exceptions) if one.subject == "GPU, embedder"]
    assert "computed in fp32: the states of Gemma models" in found[0]
    assert "attention is computed on padded sequences" in found[1]
    assert not any(
        one.subject == "GPU, embedder" for one in examine(old, AppConfig(device="cpu"), exceptions=exceptions)
    )
    asked = AppConfig.model_validate({"embedder": {"model": str(tmp_path)}, "gpu": {"dtype": "fp16"}})
    assert "computed in bf16: the states of Gemma models" in gpu_exceptions(asked, (8, 6))["embedder"][0]


def test_room_on_an_old_gpu_counts_what_it_computes_in_fp32() -> None:
    large = replace(STARTER_FACTS, parameters=GIB, fp16_overflow="too large")
    facts = dict.fromkeys(TASKS, large)

    def lacking(capability: tuple[int, int]) -> list[str]:
        machine = replace(GOOD, gpu_capability=capability)
        return [one.text for one in examine(machine, AppConfig(), facts=facts) if one.subject == "GPU, embedder"]

    assert "weights and context take 2.5 GiB" in lacking((8, 6))[0]
    assert "weights and context take 4.5 GiB" in lacking((7, 5))[0]


@pytest.mark.parametrize(("device", "level"), [("auto", "note"), ("cuda", "problem"), ("cpu", "ok")])
def test_a_torch_without_cuda_beside_a_gpu(device: str, level: str) -> None:
    found = finding(replace(GOOD, cpu_torch="2.13.0+cpu"), "GPU", device=device)
    assert found.level == level
    assert ("a build without CUDA" in found.text) == (device != "cpu")
