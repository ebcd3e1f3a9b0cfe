"""What the commands that call a server share: options, the event loop, and how failures end the process.

Exit codes: 0 done, 1 the server or a file refused, 2 the command line is wrong, 130 interrupted.
"""

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Annotated, Any, Literal, NoReturn, TypeVar

import stamina.instrumentation
import typer
from rich.console import Console
from stamina.instrumentation import RetryDetails

from trivet.client import AsyncClient, ClientError, Service
from trivet.client.exchange import DEFAULT_URL, KEY_VARIABLE, URL_VARIABLE

T = TypeVar("T")

LongInput = Literal["window", "error", "truncate"]

Url = Annotated[str | None, typer.Option(envvar=URL_VARIABLE, help=f"The server. Default: {DEFAULT_URL}.")]
Key = Annotated[str | None, typer.Option(envvar=KEY_VARIABLE, help="Bearer key, if the server wants one.")]
Timeout = Annotated[float, typer.Option("--timeout", help="Seconds for each request, retries included.")]
LongInputOption = Annotated[
    LongInput, typer.Option(help="Texts longer than the model: read in windows, an error, or cut.")
]

DEFAULT_TIMEOUT_S = 600.0


class UserError(Exception):
    """A failure to be told in one sentence; exit code 1."""


def connect(url: str | None, key: str | None, timeout_s: float) -> AsyncClient:
    """A client for work that can wait: people's own requests overtake it."""
    try:
        return AsyncClient(url, key=key, timeout_s=timeout_s, priority="bulk")
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def run(work: Coroutine[Any, Any, T], console: Console) -> T:
    """Run a command's work to its end, or tell on stderr why it has none."""

    def tell(details: RetryDetails) -> None:
        console.print(f"{details.caused_by}; trying again in {details.wait_for:.1f} s", markup=False, highlight=False)

    stamina.instrumentation.set_on_retry_hooks([tell])
    try:
        return asyncio.run(work)
    except BrokenPipeError:
        # Whoever reads stdout has enough, as `head` does. Python would complain when it flushes stdout at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(0) from None
    except (ClientError, UserError, OSError) as error:
        fail(console, str(error))
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(130) from None
    finally:
        stamina.instrumentation.set_on_retry_hooks(None)


def fail(console: Console, message: str) -> NoReturn:
    """End with exit code 1 and a sentence."""
    console.print(f"error: {message}", markup=False, highlight=False)
    raise typer.Exit(1)


def told_service(service: Service) -> str:
    """Where the work ran, and why there if that is not where it belongs."""
    reason = f" ({service.reroute_reason})" if service.reroute_reason else ""
    return f"on {service.device or 'an unnamed device'}{reason}"
