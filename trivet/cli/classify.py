"""`trivet classify`: scores every text against labels of the user's choice."""

from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from trivet.cli.calling import (
    DEFAULT_TIMEOUT_S,
    Key,
    LongInput,
    LongInputOption,
    Timeout,
    Url,
    connect,
    describe_service,
    fail,
    run,
)
from trivet.cli.hypotheses import hypotheses_of
from trivet.cli.output import Out, json_line, opened, written
from trivet.cli.progress import bar
from trivet.cli.texts import DEFAULT_MAX_FILE_BYTES, Inputs, Lines, MaxFileBytes, Text, read_texts
from trivet.client import AsyncClient, BatchLimits, Classification, calls
from trivet.client.bulk import batches_of, joined_service, utf8_bytes
from trivet.client.calls import Call


def classify_command(
    label: Annotated[
        list[str], typer.Option("--label", "-l", help="A label, or LABEL=HYPOTHESIS; repeat it for each label.")
    ],
    files: Inputs,
    out: Out = None,
    lines: Lines = False,
    template: Annotated[
        str, typer.Option(help="Hypothesis for labels that have none; {} stands for the label.")
    ] = "This example is {}.",
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Score each label independently.")] = False,
    long_input: LongInputOption = "window",
    max_file_bytes: MaxFileBytes = DEFAULT_MAX_FILE_BYTES,
    url: Url = None,
    key: Key = None,
    timeout_s: Timeout = DEFAULT_TIMEOUT_S,
) -> None:
    """Classify texts. Each output line has `path`, `line` with --lines, `label`, `scores`, `windows`, `truncated`."""
    if "{}" not in template:
        raise typer.BadParameter(f"--template is {template!r}; it must contain {{}} in place of the label")
    hypotheses = hypotheses_of(label, template)
    console = Console(stderr=True)
    texts = read_texts(files, console, lines=lines, max_file_bytes=max_file_bytes, excluded=written(out))
    if not texts:
        fail(console, "nothing to classify")
    many = _calls([text.text for text in texts], hypotheses, multi_label, long_input)
    run(_classify(connect(url, key, timeout_s), many, texts, out, console), console)


async def _classify(
    client: AsyncClient,
    many: Iterator[Call[Classification]],
    texts: list[Text],
    out: Path | None,
    console: Console,
) -> None:
    places = iter(texts)
    answers: list[Classification] = []
    async with client, aclosing(client.send_all(many)) as classifications:
        with opened(out) as file, bar(console, "classifying", len(texts)) as advance:
            async for classification in classifications:
                for item in classification.items:
                    scores = {score.label: score.score for score in item.labels}
                    about = {"scores": scores, "windows": item.windows, "truncated": item.truncated}
                    file.write(json_line({**next(places).place(), "label": item.label, **about}))
                answers.append(classification)
                advance(len(classification.items))
    tokens = sum(answer.tokens for answer in answers)
    where = describe_service(joined_service([answer.service for answer in answers]))
    console.print(f"{len(texts)} texts, {tokens} tokens, {where}", markup=False, highlight=False)


def _calls(
    texts: Sequence[str], hypotheses: dict[str, str], multi_label: bool, long_input: LongInput
) -> Iterator[Call[Classification]]:
    for start, batch in batches_of(texts, utf8_bytes, BatchLimits()):
        call = calls.classify(batch, hypotheses, multi_label=multi_label, long_input=long_input)
        yield replace(call, start=start)
