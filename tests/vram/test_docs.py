"""Checks docs/vram.md: its examples match the code's output, and it lists every cause, setting and default.

`python -m tests.vram.test_docs` regenerates the examples.
"""

import logging
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from tests.vram.fakes import GIB, Clock
from trivet.simulation.ledger import Ledger, SimulatedGpu, SimulatedProbe
from trivet.units import format_bytes, format_seconds
from trivet.vram.monitor import Monitor
from trivet.vram.planning.facts import CATALOGUE
from trivet.vram.planning.planner import Assumptions, Plan, plan
from trivet.vram.planning.presets import PRESETS
from trivet.vram.planning.table import render
from trivet.vram.policy import PolicyConfig
from trivet.vram.types import Cause

PAGE = Path(__file__).parents[2] / "docs" / "vram.md"
MODELS = ("embedder", "reranker", "classifier")
GB = 10**9
EXTERNAL = ((0.0, 0), (20.0, 1 * GB), (40.0, 4 * GB), (60.0, 13 * GB // 2), (80.0, 39 * GB // 5), (180.0, 0))


def eight_gb_plan() -> Plan:
    preset = PRESETS["8gb"]
    facts = [CATALOGUE[name] for name in preset.models]
    return plan(facts, preset.gpu_bytes, assumptions=Assumptions(external_bytes=preset.external_bytes))


class Lines(logging.Handler):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{self.clock():5.1f} s  {record.getMessage()}")


def squeeze() -> str:
    """Play the external process against three replicas that apply every decision; return what the monitor logs."""
    clock = Clock(0.0)
    heard = Lines(clock)
    logger = logging.getLogger("trivet.vram.monitor")
    with tempfile.TemporaryDirectory() as directory:
        gpu = SimulatedGpu(total_bytes=8 * GIB, external=EXTERNAL)
        ledger = Ledger(Path(directory) / "gpu.db", gpu, clock)
        for name, share in zip(MODELS, eight_gb_plan().models, strict=True):
            ledger.attach(name, cap_bytes=share.cap_bytes)
            ledger.load(name, share.weights_bytes)
        for name, share in zip(MODELS, eight_gb_plan().models, strict=True):
            with ledger.holding(name, share.activation_bytes):
                pass
        ledger.start()
        monitor = Monitor(SimulatedProbe(ledger, clock), PolicyConfig(), MODELS, clock)
        level = logger.level
        logger.addHandler(heard)
        logger.setLevel(logging.INFO)
        while clock() < 240.0:
            snapshot = monitor.tick()
            for row in ledger.view().rows:
                offloaded = snapshot is not None and snapshot.decisions[row.model].offloaded
                if snapshot is not None and offloaded and not row.offloaded:
                    ledger.offload(row.model)
                elif snapshot is not None and row.offloaded and not offloaded:
                    ledger.load(row.model, row.weights_bytes)
            clock.advance(0.5)
        logger.removeHandler(heard)
        logger.setLevel(level)
        ledger.close()
    return "\n".join(heard.lines)


EXAMPLES: dict[str, Callable[[], str]] = {"plan": lambda: render(eight_gb_plan()), "story": squeeze}


def block(name: str) -> re.Pattern[str]:
    return re.compile(rf"(<!-- {name} -->\n```text\n)(.*?)(```\n)", re.DOTALL)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_are_what_the_code_prints(name: str) -> None:
    shown = block(name).search(PAGE.read_text(encoding="utf-8"))
    assert shown is not None
    assert shown.group(2) == EXAMPLES[name]() + "\n"


@pytest.mark.parametrize("cause", get_args(Cause))
def test_every_cause_has_its_row(cause: str) -> None:
    assert re.search(rf"^\| (gpu|cpu) \| `{cause}` \| ", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("setting", [field.name for field in fields(PolicyConfig)])
def test_every_setting_has_its_row_and_its_default(setting: str) -> None:
    default = getattr(PolicyConfig(), setting)
    words = format_bytes(default) if setting.endswith("_bytes") else format_seconds(default)
    row = f"| `vram.{setting.removesuffix('_bytes')}` | {words} | "
    assert row in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_presets_are_shown_as_they_are(preset) -> None:  # type: ignore[no-untyped-def]
    left = format_bytes(preset.external_bytes) if preset.gpu_bytes else "–"
    assert f"| `{preset.name}` | {left} | " in PAGE.read_text(encoding="utf-8")
    for name in preset.models + preset.smaller_models:
        assert name.split("/")[-1] in PAGE.read_text(encoding="utf-8")


def renew() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for name, example in EXAMPLES.items():
        found = block(name).search(text)
        if found is None:
            raise ValueError(f"{PAGE} has no place for {name}")
        text = text[: found.start(2)] + example() + "\n" + text[found.end(2) :]
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(renew())
