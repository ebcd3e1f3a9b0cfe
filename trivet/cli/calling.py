"""Shared by the commands that call a server: options, the event loop, and error handling.

Exit codes: 0 success, 1 a failure of the server or of a file, 2 an invalid command line, 130 interrupted.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Annotated, Any, NoReturn, TypeVar

import stamina.instrumentation
import typer
from rich.console import Console
from stamina.instrumentation import RetryDetails

from trivet.client import AsyncClient, Service
from trivet.client.calls import LongInput as LongInput
from trivet.client.calls import Priority
from trivet.client.exchange import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE
from trivet.errors import TrivetError
from trivet.index.names import shown_lines

T = TypeVar("T")

Url = Annotated[str | None, typer.Option(envvar=URL_VARIABLE, help=f"URL of the server. Default: {DEFAULT_URL}.")]
Key = Annotated[str | None, typer.Option(envvar=KEY_VARIABLE, help="Bearer key, if the server requires one.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds for each request, including retries.")]
LongInputOption = Annotated[
    LongInput,
    typer.Option(help="Texts longer than the model's limit: read them in windows, refuse them, or truncate them."),
]
Instruction = Annotated[
    str | None,
    typer.Option(help="What the search is for: replaces the task in the prompt of models that were trained with one."),
]

DEFAULT_TIMEOUT_S = 600.0


class UserError(Exception):
    """A failure that is reported as one sentence, with exit code 1."""


def connect(url: str | None, key: str | None, timeout_s: float, *, priority: Priority = "bulk") -> AsyncClient:
    """Create a client; with the priority `bulk`, interactive requests of others take precedence."""
    try:
        return AsyncClient(url, key=key, timeout_s=timeout_s, priority=priority)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def run(work: Coroutine[Any, Any, T], console: Console) -> T:
    """Run a command's work; on failure print the error to stderr and exit with the code for it."""

    def report_retry(details: RetryDetails) -> None:
        line = f"{details.caused_by}; retrying in {details.wait_for:.1f} s"
        console.print("\n".join(shown_lines(line)), markup=False, highlight=False, soft_wrap=True)

    stamina.instrumentation.set_on_retry_hooks([report_retry])
    try:
        return asyncio.run(work)
    except BrokenPipeError:
        # The reader of stdout has closed it, as `head` does. Without this, Python would fail to flush stdout at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (TrivetError, UserError, OSError) as error:
        fail(console, str(error))
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(130) from None
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)


def fail(console: Console, message: str) -> NoReturn:
    """Print the error and exit with code 1. It may repeat what a server sent, which must not command the terminal."""
    console.print("\n".join(shown_lines(f"error: {message}")), markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(1)


def describe_service(service: Service) -> str:
    """Name the device that did the work, and the reason if it was a fallback."""
    reason = f" ({service.reroute_reason})" if service.reroute_reason else ""
    return f"on {service.device or 'an unknown device'}{reason}"
