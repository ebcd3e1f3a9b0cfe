"""`trivet status`: what a running service reports of its models and its GPU."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, NotRequired

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typing_extensions import TypedDict

from trivet.cli.calling import Key, Timeout, Url, connect, run
from trivet.client import AsyncClient
from trivet.client.answers import Answer
from trivet.client.calls import AnswerT, Call
from trivet.index.names import shown
from trivet.units import format_bytes

_TIMEOUT_S = 10.0


class LaneState(TypedDict):
    """A replica of a model."""

    ready: bool
    device: str


class LastMinute(TypedDict):
    """Calls to a model within 60 s."""

    calls: int
    failed: int
    p50_ms: float | None
    p95_ms: float | None


class ReplicaCount(TypedDict):
    """How many CPU replicas run, and how many may."""

    min: int
    max: int
    running: int | None


class ModelState(TypedDict):
    """Where a model's next request goes and why, and its recent traffic."""

    name: str | None
    lane: str
    reason: str
    in_flight: int
    lanes: dict[str, LaneState]
    last_minute: LastMinute
    cpu_replicas: NotRequired[ReplicaCount | None]  # a service before 0.2 does not say


class GpuState(TypedDict):
    """One GPU."""

    device: str
    unknown_reason: str | None
    total_bytes: int
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Status(Answer):
    """`GET /v1/status`, as far as the command shows it; docs/api.md has all fields."""

    version: str
    models: dict[str, ModelState]
    gpus: list[GpuState]
    cpu_only_reason: str | None
    ports: dict[str, int] = field(default_factory=dict)
    """What a port is for → its number."""


def status_command(
    as_json: Annotated[bool, typer.Option("--json", help="Print the service's whole answer as JSON.")] = False,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = _TIMEOUT_S,
) -> None:
    """Show where each model of a running service computes and why, its traffic in the last minute, and the GPU.

    Exits with 1 if nothing answers, or if a model has no device that does.
    """
    console = Console(stderr=True)
    client = connect(url, key, timeout_s)
    whole = run(_asked(client, _WholeCall("/v1/status", Whole)), console)
    if as_json:
        typer.echo(whole.text)
    else:
        _show(whole.status)
    if any(not any(lane["ready"] for lane in model["lanes"].values()) for model in whole.status.models.values()):
        raise typer.Exit(1)


def _show(answer: Status) -> None:
    out = Console()
    out.print(models_table(answer.models))
    for task, model in answer.models.items():
        if answer.gpus:
            out.print(shown(f"{task}: {model['reason']}"), markup=False, highlight=False)
    for task, model in answer.models.items():
        if line := replicas_line(model):
            out.print(shown(f"{task}: {line}"), markup=False, highlight=False)
    for gpu in answer.gpus:
        out.print(shown(gpu_line(gpu)), markup=False, highlight=False)
    if answer.cpu_only_reason:
        out.print(shown(answer.cpu_only_reason), markup=False, highlight=False)
    if answer.ports:
        listed = ", ".join(f"{purpose} {port}" for purpose, port in answer.ports.items())
        out.print(shown(f"Ports: {listed}"), markup=False, highlight=False)


@dataclass(frozen=True, slots=True)
class Whole(Answer):
    """An answer as it came, and what it says."""

    text: str
    status: Status


class _WholeCall(Call[Whole]):
    """A call whose answer is kept as it came, too."""

    def read(self, content: bytes, headers: Mapping[str, str]) -> Whole:
        """Return the body, provided that it is a status: whatever listens there may send a page or codes."""
        status = Call(self.path, Status).read(content, headers)
        return Whole(content.decode(), status)


async def _asked(client: AsyncClient, call: Call[AnswerT]) -> AnswerT:
    async with client:
        return await client.send(call)


def models_table(models: Mapping[str, ModelState]) -> Table:
    """Return a row for every model: name, device, and the traffic of the last minute."""
    table = Table("", "model", "runs on", "open", "calls", "failed", "p50", "p95", box=None, padding=(0, 2, 0, 0))
    for column in table.columns[3:]:
        column.justify = "right"
        column.no_wrap = True
    for task, model in models.items():
        recent = model["last_minute"]
        table.add_row(
            Text(shown(task)),
            Text(shown(model["name"] or "(starting)")),
            Text(shown(_devices(model))),
            str(model["in_flight"]),
            str(recent["calls"]),
            str(recent["failed"]),
            _milliseconds(recent["p50_ms"]),
            _milliseconds(recent["p95_ms"]),
        )
    return table


def replicas_line(model: ModelState) -> str | None:
    """Say how many CPU replicas run, where there may be several; None where there is one."""
    count = model.get("cpu_replicas")
    if count is None or count["max"] == 1 or count["running"] is None:
        return None
    of = str(count["max"]) if count["min"] == count["max"] else f"{count['min']} to {count['max']}"
    return f"{count['running']} of {of} CPU replicas run"


def gpu_line(gpu: GpuState) -> str:
    """Describe a GPU in one line."""
    if gpu["unknown_reason"]:
        return f"GPU {gpu['device']}: {gpu['unknown_reason']}"
    return f"GPU {gpu['device']}: {format_bytes(gpu['free_bytes'])} free of {format_bytes(gpu['total_bytes'])}"


def _devices(model: ModelState) -> str:
    lanes = model["lanes"]
    lane = lanes.get(model["lane"])
    if lane is None or not lane["ready"]:
        return next((other["device"] for other in lanes.values() if other["ready"]), "not ready")
    return lane["device"]


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:g} ms"
