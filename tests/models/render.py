"""Writes STATES.md and the tables of docs/models.md: ``python -m tests.models.render``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.models.cases import CASES
from tests.models.precision import table_markdown
from tests.models.table import GROUPS, Row, State

STATES_FILE = Path(__file__).parent / "STATES.md"
PAGE = Path(__file__).parents[2] / "docs" / "models.md"
_BEGIN, _END = "<!-- table of models: written by tests/models/render.py -->", "<!-- end of the table of models -->"
_ERRORS = "<!-- table of errors: written by tests/models/render.py -->", "<!-- end of the table of errors -->"

_HEAD = """\
# Models people use, and what Trivet makes of each

Made from `tests/models/table.py` by `python -m tests.models.render`; do not edit. For every row a tiny random
checkpoint is written in the published layout and served on two paths: `torch` is what a GPU replica runs, in fp32,
`CPU` the conversion of the CPU lane in fp32. `GPU layout` says whether a GPU computes sequences packed, that is laid
end to end, or padded to the longest. Each path answers texts of many lengths, together and alone, and is compared with
sentence-transformers or transformers (or, where upstream has remote code, with the published formula in float64).

- **exact**: within 1e-4 of the reference everywhere.
- **refused**: not served; the message says what is not understood.
- **fails**: not served, or not every text; the message names nothing.
- **wrong**: served, and the numbers differ; nothing shows it to the caller.
"""


def states_markdown() -> str:
    """The whole file."""
    lines = [_HEAD]
    for group, rows in GROUPS.items():
        lines += [
            f"## {group}\n",
            "| model | task | torch | CPU | GPU layout | what it needs |",
            "|---|---|---|---|---|---|",
        ]
        lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
        lines.append("")
    lines += ["## Over HTTP\n", "| case | what is asked | today |", "|---|---|---|"]
    for case in CASES:
        lines.append(f"| {case.number} | {case.asked} | {_short(case.today)}: {case.today.says} |")
    lines.append("")
    lines += [
        "## Messages\n",
        "What a row that is not exact says, in part.\n",
        "| model | path | message or reason |",
        "|---|---|---|",
    ]
    lines += list(_messages())
    return "\n".join(lines) + "\n"


def page_markdown(page: str) -> str:
    """The page for users, with its tables brought up to date."""
    lines = []
    for group, rows in GROUPS.items():
        lines += [f"### {group}\n", "| model | served as | state | on a GPU | note |", "|---|---|---|---|---|"]
        for row in rows:
            model, task, on_torch, on_cpu, layout, needs = _cells(row)
            state = on_torch if on_torch == on_cpu else f"GPU: {on_torch}, CPU: {on_cpu}"
            note = f"`reranker.template: {row.question.template}`" if row.question.template else needs
            lines.append(f"| {model} | {task} | {state} | {layout} | {note} |")
        lines.append("")
    page = _between(page, (_BEGIN, _END), "\n".join(lines))
    return _between(page, _ERRORS, f"{table_markdown()}\n")


def _between(page: str, marks: tuple[str, str], content: str) -> str:
    before, _, rest = page.partition(marks[0])
    _, _, after = rest.partition(marks[1])
    return f"{before}{marks[0]}\n\n{content}\n{marks[1]}{after}"


def _cells(row: Row) -> tuple[str, ...]:
    model = f"{row.model} ({row.also})" if row.also else row.model
    task = row.question.task if row.question.output == "vectors" else f"embedder, {row.question.output}"
    layout = "" if row.state("torch").kind != "exact" else "padded" if row.padded else "packed"
    return model, task, _short(row.state("torch")), _short(row.state("cpu")), layout, row.needs


def _short(state: State) -> str:
    return state.kind if state.kind == "exact" else f"**{state.kind}**"


def _messages() -> Iterator[str]:
    for rows in GROUPS.values():
        for row in rows:
            on_torch, on_cpu = row.state("torch"), row.state("cpu")
            found = [("both", on_torch)] if on_torch == on_cpu else [("torch", on_torch), ("CPU", on_cpu)]
            yield from (f"| {row.model} | {path} | {state.says} |" for path, state in found if state.says)


if __name__ == "__main__":
    STATES_FILE.write_text(states_markdown(), encoding="utf-8")
    PAGE.write_text(page_markdown(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
