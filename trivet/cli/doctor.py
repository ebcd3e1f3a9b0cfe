"""`trivet doctor`: checks a configuration against this machine, shows a service's memory, or clears dead services."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from trivet.cli.config_file import ConfigArgument, ConfigOption, PortOption, chosen_file, read_serve_file
from trivet.index.names import shown
from trivet.paths import cache_dir
from trivet.units import format_bytes

if TYPE_CHECKING:
    from trivet.doctor.machine import PortUse, RunningService

_MARKS = {"ok": "[green]ok[/green]", "note": "[yellow]note[/yellow]", "problem": "[red]problem[/red]"}


def doctor_command(
    config: ConfigArgument = None,
    config_option: ConfigOption = None,
    port: PortOption = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Show the host memory of the service running on this machine instead.")
    ] = False,
    clean: Annotated[
        bool,
        typer.Option("--clean", help="End the processes and remove the files that killed services have left, instead."),
    ] = False,
) -> None:
    """Check a configuration against this machine. Exits with 1 if there is a problem."""
    from trivet.doctor.checks import examine
    from trivet.doctor.machine import examine_machine
    from trivet.doctor.models import gpu_exceptions, known_facts, padded_models, unservable_models

    console = Console()
    file = read_serve_file(chosen_file(config, config_option), port=port)
    if memory:
        _show_memory(console, file.port)
        return
    if clean:
        _clean(console, cache_dir(file.config.serving.cache_dir))
        return
    cache = cache_dir(file.config.serving.cache_dir)
    machine = examine_machine(_ports(file.port), cache, _running(cache, file.port))
    findings = examine(
        machine,
        file.config,
        padded_models(file.config),
        known_facts(file.config),
        gpu_exceptions(file.config, machine.gpu_capability),
        unservable_models(file.config),
    )
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    for finding in findings:
        advice = (f"\n→ {shown(finding.advice)}", "dim") if finding.advice else ""
        table.add_row(_MARKS[finding.level], finding.subject, Text.assemble(shown(finding.text), advice))
    console.print(table)
    if any(finding.level == "problem" for finding in findings):
        raise typer.Exit(1)


def _ports(port: int) -> "list[PortUse]":
    """List the ports that a service would open here; those that the environment sets are fixed."""
    from deployments.service.ports import INGRESS_FIRST, SINGLE
    from trivet.doctor.machine import PortUse

    roles = [
        PortUse(role.given(os.environ) or role.default, role.purpose, role.variable in os.environ)
        for role in (*SINGLE, INGRESS_FIRST)
    ]
    return [PortUse(port, "the service", is_fixed=True), *roles]


def _running(cache: Path, port: int) -> "RunningService | None":
    """Find the service of this user on the port, by its record."""
    from deployments.service.record import RecordFile
    from trivet.doctor.machine import RunningService

    record = RecordFile(cache, port).read()
    if record is None or not record.is_running:
        return None
    return RunningService(record.url, record.owner.pid, record.ports)


def _clean(console: Console, cache: Path) -> None:
    """Clear dead services, by their own records of processes and ports."""
    from deployments.service.leftovers import clear, dead_services

    found = list(dead_services(cache))
    for service, record in found:
        ended = clear(service, record)
        console.print(f"{record.url}: ended {ended} processes, removed {record.folder}", markup=False, highlight=False)
    if not found:
        console.print("no killed service has left anything")


def _show_memory(console: Console, port: int) -> None:
    """Print the running service's memory by role, and in total."""
    from deployments.service.host_memory import by_role, measure, service_behind

    measured = measure(service_behind(port))
    table = Table("process", "number", "PSS", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[1:]:
        column.justify = "right"
    for role, (count, pss_bytes) in by_role(measured).items():
        table.add_row(role, str(count), format_bytes(pss_bytes))
    table.add_section()
    table.add_row("total", str(len(measured)), format_bytes(sum(one.pss_bytes for one in measured)))
    console.print(table)
