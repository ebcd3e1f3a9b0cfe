"""Parses the command line's labels and relations, each given as `NAME=HYPOTHESIS`."""

from collections.abc import Iterable

import typer


def hypotheses_of(options: Iterable[str], template: str | None = None) -> dict[str, str]:
    """Parse options into name → hypothesis; a name without a hypothesis uses the template, if there is one."""
    found: dict[str, str] = {}
    for option in options:
        name, given, hypothesis = option.partition("=")
        if not name or (given and not hypothesis) or (not given and template is None):
            expected = "NAME=HYPOTHESIS" if template is None else "LABEL or LABEL=HYPOTHESIS"
            raise typer.BadParameter(f"{option!r} is not {expected}")
        if name in found:
            raise typer.BadParameter(f"{name!r} is given twice")
        found[name] = hypothesis or (template or "").replace("{}", name)
    return found
