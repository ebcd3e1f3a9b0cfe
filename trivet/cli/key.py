"""`trivet key`: creates a bearer key and its line for the keys file."""

from typing import Annotated

import typer


def key_command(name: Annotated[str, typer.Argument(help="Name of the key's user, shown in logs and limits.")]) -> None:
    """Print a new key, and its line for the file in api.keys_file. The key itself is not stored."""
    from trivet.api.key_ring import hash_key, new_key

    if not name.isprintable() or " " in name or "#" in name or not name:
        raise typer.BadParameter(
            f"{name!r} cannot be a name in a key file: leave out spaces, # and what is not printed"
        )
    key = new_key()
    typer.echo(f"key (give it to {name}; it is not stored): {key}", err=True)
    typer.echo(f"{name} {hash_key(key)}")
