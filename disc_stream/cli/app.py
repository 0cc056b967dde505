"""The ``disc-stream`` command.

The command modules import nothing but typer at their top: what a command needs is loaded when it runs,
so that ``--help`` answers at once and a missing extra concerns only the command that needs it.
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from disc_stream import __version__
from disc_stream.cli import (
    api,
    benchmark,
    broker,
    bundle,
    clusters,
    data,
    deadletter,
    demo,
    doctor,
    edge,
    episodes,
    events,
    export,
    forgetting,
    label,
    models,
    phone,
    plot,
    resetting,
    retrain,
    serve,
    streams,
    token,
    train,
    watch,
    which,
    wire,
)
from disc_stream.errors import DiscStreamError
from disc_stream.text import log_form, printable

app = typer.Typer(
    name="disc-stream",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Live activity labels from the raw motion streams of many wearables, learned without labels.\n\n"
    "Start with: disc-stream demo",
)

_INTERRUPTED = 130

# Remedies by errno of a path, where the command has no better one.
_OF_PATHS = {
    errno.ENOENT: "Check the path",
    errno.ENOTDIR: "Check the path",
    errno.EISDIR: "Name a file",
    errno.EEXIST: "Name another one",
    errno.ENAMETOOLONG: "Name a shorter one",
    errno.ELOOP: "Check the links there",
    errno.EACCES: "Check the permissions there",
    errno.EPERM: "Check the permissions there",
    errno.EROFS: "Choose a place that can be written",
    errno.ENOSPC: "Free some space",
    errno.EDQUOT: "Free some space",
}


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"disc-stream {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options that stand before the command."""


# The order is the order of work.
app.command("demo")(demo.demo)
data.app.command("export")(streams.export)
data.app.command("forget")(forgetting.forget)
data.app.command("reset-adaptation")(resetting.reset_adaptation)
app.add_typer(data.app, name="data")
app.command("train")(train.train)
app.command("export")(export.export)
app.add_typer(bundle.app, name="bundle")
app.command("serve")(serve.serve)
app.command("retrain")(retrain.retrain)
models.app.command("which")(which.which)
app.add_typer(models.app, name="models")
app.add_typer(clusters.app, name="clusters")
app.add_typer(episodes.app, name="episodes")
app.command("phone")(phone.phone)
app.command("label")(label.label)
app.command("watch")(watch.watch)
app.add_typer(edge.app, name="edge")
app.add_typer(broker.app, name="broker")
app.command("doctor")(doctor.doctor)
app.add_typer(deadletter.app, name="deadletter")
app.add_typer(events.app, name="events")
app.add_typer(token.app, name="token")
app.add_typer(api.app, name="api")
app.add_typer(wire.app, name="wire")
app.add_typer(benchmark.app, name="benchmark")
app.add_typer(plot.app, name="plot")


def main() -> None:
    """Run the command line; errors for the user become one line and an exit code."""
    try:
        code = app(standalone_mode=False, prog_name="disc-stream")
    except TyperException as error:
        sys.exit(_usage_error(error))
    except DiscStreamError as error:
        _say_error(str(error))
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has closed the pipe (as `head` does); that is not an error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.filename is None or error.errno not in _OF_PATHS:
            raise
        _say_error(f"{str(error.filename)!r}: {error.strerror}. {_OF_PATHS[error.errno]}")
        sys.exit(1)
    if code == _INTERRUPTED and log_form() == "text":  # typer, too, makes this of a KeyboardInterrupt
        print("stopped", file=sys.stderr)
    sys.exit(code)


def _say_error(text: str) -> None:
    """The last line of a command that failed; where the log is JSON, a line of it."""
    if log_form() == "json":
        logging.getLogger("disc_stream").error("%s", text)
    else:
        print(f"error: {printable(text)}", file=sys.stderr)


def _usage_error(error: TyperException) -> int:
    """Print a usage error as one line, as our own errors are, instead of in a box."""
    message = error.format_message().strip()
    if message:  # without one, the help of a group was asked for and has been shown
        command = getattr(getattr(error, "ctx", None), "command_path", "disc-stream")
        end = "" if message[-1] in ".?!" else "."
        print(f"error: {printable(message)}{end} See: {command} --help", file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    main()
