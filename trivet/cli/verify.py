"""`trivet verify`: runs each configured model as it is served beside the library for which it was published.

The exit code is 1 if the numbers differ by more than the precision explains, or a model cannot be served.
"""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from trivet.cli.config_file import ConfigArgument, ConfigOption, chosen_file, read_serve_file
from trivet.cli.output import json_line, opened
from trivet.config import TASKS, Task

if TYPE_CHECKING:
    from trivet.evaluation.verify.run import Verdict


def verify_command(
    config: ConfigArgument = None,
    config_option: ConfigOption = None,
    tasks: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="Only this one: embedder, reranker or classifier.")
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(help="File of texts, a line each, or .jsonl with `text`. Default: bundled ones.")
    ] = None,
    lane: Annotated[str | None, typer.Option(help="gpu or cpu. Default: the one on which it is served here.")] = None,
    json_lines: Annotated[bool, typer.Option("--json", help="Write JSON lines instead of a table.")] = False,
) -> None:
    """Compare each configured model, as it is served, with sentence-transformers or transformers on this machine.

    Shows how far the numbers are apart, whether they order texts alike, and the speed of both.
    """
    from trivet.evaluation.files import BadSet
    from trivet.evaluation.verify.run import verify_model
    from trivet.evaluation.verify.served import lane_of
    from trivet.evaluation.verify.texts import bundled_texts, read_texts

    console = Console(stderr=True)
    path = chosen_file(config, config_option)
    chosen = _tasks(tasks)
    if lane not in (None, "gpu", "cpu"):
        raise typer.BadParameter(f"--lane is gpu or cpu, not {lane!r}")
    try:
        of_file = bundled_texts() if texts is None else read_texts(texts)
        settings = read_serve_file(path).config
        on = lane_of(settings, "gpu" if lane == "gpu" else "cpu" if lane == "cpu" else None)
        verdicts = []
        for task in chosen:
            console.print(f"{task}: {settings.model_for(task).model}", markup=False, highlight=False)
            verdicts.append(verify_model(settings, task, on, of_file))
    except BadSet as error:
        raise typer.BadParameter(str(error)) from error
    _show(verdicts, json_lines=json_lines)
    if not all(verdict.agrees for verdict in verdicts):
        raise typer.Exit(1)


def _tasks(named: list[str] | None) -> list[Task]:
    if unknown := [name for name in named or [] if name not in TASKS]:
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(TASKS)}")
    return [task for task in TASKS if not named or task in named]


def _show(verdicts: "list[Verdict]", *, json_lines: bool) -> None:
    if json_lines:
        with opened(None) as out:
            for verdict in verdicts:
                out.write(json_line({**asdict(verdict), "agrees": verdict.agrees}))
        return
    console = Console()
    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for column in ("", "numbers", "compared", "cosine", "difference", "order"):
        table.add_column(column, no_wrap=True)
    for verdict in verdicts:
        for one in verdict.agreements:
            cosine = "–" if one.cosine is None else f"{one.cosine:.5f}"
            order = f"{one.rank_agreement:.4f}"
            table.add_row(verdict.task, one.what, str(one.compared), cosine, f"{one.difference:.2g}", order)
    console.print(table)
    for verdict in verdicts:
        console.print(_sentence(verdict), markup=False, highlight=False, soft_wrap=True)


def _sentence(verdict: "Verdict") -> str:
    about = f"{verdict.task}: {verdict.model} on {verdict.device}"
    if verdict.reference is None:
        return f"{about}: nothing to compare with: {verdict.no_reference}"
    speed = f"; {verdict.served_per_s:.0f} a second, {verdict.reference} in fp32 {verdict.reference_per_s:.0f}"
    not_compared = f"; {verdict.windowed} texts were read in windows and are not compared" if verdict.windowed else ""
    if verdict.agrees:
        return f"{about} agrees with {verdict.reference}{speed}{not_compared}"
    problems = "; ".join(f"{one.what}: {problem}" for one in verdict.agreements for problem in one.problems)
    return f"{about} DIFFERS from {verdict.reference}: {problems}{speed}{not_compared}"
