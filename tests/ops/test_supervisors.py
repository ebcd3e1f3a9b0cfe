"""The examples for supervisors start, stop and restart the service as it expects."""

import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from deployments.service.stopping import STOP_LIMIT_S
from deployments.service.supervisor import STOP_TIMEOUT_S
from tests.ops.files import ROOT
from trivet.cli import main
from trivet.cli.serve import _FINISH_LIMIT_S

UNIT = ROOT / "ops" / "systemd" / "trivet.service"
SECTIONS = {"Unit", "Service", "Install"}
NEEDED_TO_STOP_S = _FINISH_LIMIT_S + STOP_TIMEOUT_S


def directives() -> dict[str, dict[str, str]]:
    """Parse the unit, in which every line is a comment, a section or a directive that occurs once."""
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = found.setdefault(header[1], {})
            continue
        directive = re.fullmatch(r"([A-Z][A-Za-z]+)=(\S.*)", line)
        assert directive, line
        assert directive[1] not in section, line
        section[directive[1]] = directive[2]
    return found


def test_the_unit_is_well_formed() -> None:
    assert directives().keys() == SECTIONS


def test_the_unit_starts_the_service_and_starts_it_again_after_a_failure() -> None:
    service = directives()["Service"]
    program, command, config = service["ExecStart"].split()
    assert Path(program).name == "trivet"
    assert Path(config).is_absolute()
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0
    assert service["Restart"] == "on-failure"  # an ordinary stop ends with 0, a lost cluster with 1
    assert "StartLimitBurst" in directives()["Unit"]


def test_the_unit_leaves_time_to_finish_open_requests() -> None:
    service = directives()["Service"]
    assert service["KillMode"] == "mixed"  # Ray's processes must not get the signal themselves
    assert float(service["TimeoutStopSec"]) >= NEEDED_TO_STOP_S
    assert STOP_LIMIT_S >= NEEDED_TO_STOP_S


def test_what_the_unit_lets_the_service_write_is_private() -> None:
    service = directives()["Service"]
    assert "TRIVET_CACHE=/var/cache/trivet" in service["Environment"]
    assert (service["CacheDirectoryMode"], service["StateDirectoryMode"], service["UMask"]) == ("0700", "0700", "0077")
    assert service["PrivateTmp"] == service["NoNewPrivileges"] == "yes"


def test_compose_starts_the_service_again() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    trivet = compose["services"]["trivet"]
    assert trivet["restart"] == "unless-stopped"
    assert float(trivet["stop_grace_period"].removesuffix("s")) >= NEEDED_TO_STOP_S


@pytest.mark.parametrize("name", ["ops/systemd/trivet.service", "compose.yaml", "trivet stop", "trivet doctor --clean"])
def test_the_documentation_names_them(name: str) -> None:
    assert name in (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
