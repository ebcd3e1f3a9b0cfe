"""The command line: `trivet prepare`, `trivet serve`, `trivet plan`."""

import typer

from trivet.cli.plan import plan_command
from trivet.cli.prepare import prepare_command
from trivet.cli.serve import serve_command

main = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
main.command("serve")(serve_command)
main.command("prepare")(prepare_command)
main.command("plan")(plan_command)
