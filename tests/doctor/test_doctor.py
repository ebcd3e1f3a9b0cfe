"""The doctor's findings about made-up machines, and that it can examine this one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trivet.config import AppConfig
from trivet.doctor.checks import Finding, examine
from trivet.doctor.machine import Machine, examine_machine, processor_flags
from trivet.doctor.models import padded_models
from trivet.vram.types import Observation

GIB = 1024**3

GOOD = Machine(
    cores=8,
    processor_flags=frozenset({"avx2", "avx512_bf16", "avx512_vnni"}),
    memory_bytes=16 * GIB,
    available_bytes=9 * GIB,
    shared_memory_free_bytes=8 * GIB,
    gpu=Observation(at_s=0, device="0: A GPU", total_bytes=8 * GIB, free_bytes=6 * GIB),
    ports_in_use=(),
    cache_dir=Path("cache"),
    cache_bytes=GIB,
    disk_free_bytes=80 * GIB,
)
NO_GPU = Observation.unknown(at_s=0, device="none", reason="no driver")


def finding(machine: Machine, subject: str, **config: Any) -> Finding:
    [found] = [one for one in examine(machine, AppConfig.model_validate(config)) if one.subject == subject]
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
        ({"ports_in_use": (8000,)}, "Ports", "http_options.port"),
        ({"disk_free_bytes": GIB}, "Model cache", "serving.cache_dir"),
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
    machine = examine_machine((), tmp_path)
    assert machine.cores >= 1
    assert machine.memory_bytes > machine.available_bytes > 0
    assert machine.cache_bytes == 100


def test_a_model_that_a_gpu_pads_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "deberta-v2"}')
    config = AppConfig.model_validate({"device": "auto", "classifier": {"model": str(tmp_path)}})
    padded = padded_models(config)
    assert set(padded) == {"classifier"}
    found = [one for one in examine(GOOD, config, padded) if one.subject == "GPU, classifier"]
    assert len(found) == 1
    assert "deberta-v2" in found[0].text
    assert padded_models(AppConfig()) == {}
