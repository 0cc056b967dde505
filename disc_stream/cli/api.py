"""``disc-stream api``: the description of the HTTP API."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from disc_stream.cli.common import print_json, require_extras, say

app = typer.Typer(
    no_args_is_help=True,
    help="The HTTP API of `serve`, under /api/v1.\n\nExample: disc-stream api schema > openapi.json",
)


@app.command()
def schema(
    markdown: Annotated[
        bool, typer.Option("--markdown", help="As the page docs/reference/api.md instead.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write it to a file.")] = None,
) -> None:
    """Print the OpenAPI 3.1 document. A running server has the same at /api/v1/openapi.json.

    Example: disc-stream api schema --out openapi.json
    """
    require_extras("disc-stream api schema", "server")
    import json

    from disc_stream_server.api.app import openapi_document
    from disc_stream_server.api.reference import as_markdown

    document = openapi_document()
    if out is not None:
        text = as_markdown(document) if markdown else json.dumps(document, indent=2) + "\n"
        out.write_text(text, encoding="utf-8")
        say(f"written to {out}")
    elif markdown:
        say(as_markdown(document).rstrip("\n"))
    else:
        print_json(document)
