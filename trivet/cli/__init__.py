<<<<<<< HEAD
"""Serve and use embedding, reranking and classification models."""
=======
"""Serve and use embedding, reranking and classification models.

`serve`, `stop`, `prepare`, `plan`, `doctor` and `key` are for running a server; `embed`, `rerank`, `classify`, `relate`
and `index` send requests to one; `eval` measures one; `verify` compares its models
with the reference libraries; `mcp` offers one to a coding agent.
"""
>>>>>>> models

from typing import Annotated

import typer

import trivet
<<<<<<< HEAD
from trivet.cli.commands import CommandGroup

main = typer.Typer(
    cls=CommandGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__
)
=======
from trivet.cli.classify import classify_command
from trivet.cli.doctor import doctor_command
from trivet.cli.embed import embed_command
from trivet.cli.eval import eval_command
from trivet.cli.index import index_command
from trivet.cli.key import key_command
from trivet.cli.mcp import mcp_command
from trivet.cli.plan import plan_command
from trivet.cli.prepare import prepare_command
from trivet.cli.relate import relate_command
from trivet.cli.rerank import rerank_command
from trivet.cli.serve import serve_command
from trivet.cli.stop import stop_command
from trivet.cli.verify import verify_command

main = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
main.command("serve")(serve_command)
main.command("stop")(stop_command)
main.command("prepare")(prepare_command)
main.command("plan")(plan_command)
main.command("doctor")(doctor_command)
main.command("key")(key_command)
main.command("embed")(embed_command)
main.command("rerank")(rerank_command)
main.command("classify")(classify_command)
main.command("relate")(relate_command)
main.command("index")(index_command)
main.command("eval")(eval_command)
main.command("verify")(verify_command)
main.command("mcp")(mcp_command)
>>>>>>> models


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"trivet {trivet.__version__}")
        raise typer.Exit


@main.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Handle the options that precede the command."""
