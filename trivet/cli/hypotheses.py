"""Labels and relations as the command line takes them: `NAME=HYPOTHESIS`, once for each."""

from collections.abc import Iterable

import typer


def hypotheses_of(options: Iterable[str], template: str | None = None) -> dict[str, str]:
    """Name → hypothesis; a bare name takes the template, where there is one."""
    found: dict[str, str] = {}
    for option in options:
        name, given, hypothesis = option.partition("=")
        if not name or (given and not hypothesis) or (not given and template is None):
            raise typer.BadParameter(f"{option!r} is not {'NAME=HYPOTHESIS' if template is None else 'a label'}")
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice")
        found[name] = hypothesis or (template or "").replace("{}", name)
    return found
