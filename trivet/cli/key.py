"""`trivet key`: makes a bearer key, and the line that a key file keeps of it."""

from typing import Annotated

import typer

from trivet.api.key_ring import hash_key, new_key


def key_command(name: Annotated[str, typer.Argument(help="Who will use it; shown in logs and limits.")]) -> None:
    """Print a new key, once, and its line for the file named by api.keys_file."""
    key = new_key()
    typer.echo(f"key (give it to {name}; it is not stored): {key}", err=True)
    typer.echo(f"{name} {hash_key(key)}")
