"""``disc-stream data reset-adaptation``."""

from __future__ import annotations

from typing import Annotated

import typer

from disc_stream.cli.common import JsonOption, print_json, say
from disc_stream.cli.streams import StateOption, state_folder


def reset_adaptation(
    device: Annotated[str, typer.Argument(help="The device's id, as in its topics.")],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let the centroids of a device be its model's again, as if it had just appeared.

    For a device that somebody else wears now. Works while the server runs, and
    takes effect with the next window; without a server, at its next start.

    Example: disc-stream data reset-adaptation watch-17
    """
    from disc_stream_server.storage.resetting import ask_for_reset

    done = ask_for_reset(state_folder(state), device)
    if as_json:
        print_json({"device": device, "done": bool(done), "server": done is not None})
    elif done:
        say(f"{device} begins again with the model's own centroids")
    elif done is None:
        say(f"No server runs; {device} begins again with the model's own centroids when one is started")
    else:
        say("The server has not done it yet; it does so with its next checkpoint.")
