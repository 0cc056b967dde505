"""``disc-stream data``."""

from __future__ import annotations

import typer

app = typer.Typer(no_args_is_help=True, help="Placeholder.")


@app.command()
def placeholder() -> None:
    """Placeholder."""
