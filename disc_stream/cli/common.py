"""What several commands share: output, extras, logging."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO, cast

import typer

from disc_stream.errors import ConfigError, InputNotFoundError, MissingExtraError, UsageError
from disc_stream.text import log_formatter, printable_lines

# extra -> the modules that tell whether it is there
_PROBES = {
    "train": ("torch", "sklearn", "scipy", "safetensors"),
    "export": ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors"),
    "server": ("fastapi", "starlette", "uvicorn", "websockets", "prometheus_client"),
    "client": ("httpx2",),
    "otel": ("opentelemetry",),
    "cpu": ("onnxruntime",),
    "plot": ("matplotlib",),
    "drift": ("river",),
    "parquet": ("pyarrow",),
    "recordings": ("pyarrow", "actfast"),
    "broker": ("cryptography",),
    "ble": ("bleak",),
    "phone": ("segno", "cryptography", "starlette", "uvicorn", "websockets"),
    "demo": (
        "torch",
        "onnx",
        "onnxscript",
        "sklearn",
        "fastapi",
        "starlette",
        "uvicorn",
        "prometheus_client",
    ),
}

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines instead of text.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Same seed, same result.")]
BrokerOption = Annotated[
    str,
    typer.Option(
        "--broker",
        envvar="DISC_STREAM_BROKER",
        help="mqtt://host:port, or mqtts://host:port?ca=FILE&cert=FILE&key=FILE; the password is better put "
        "into DISC_STREAM_BROKER_PASSWORD, or into a file that ?password-file= names.",
    ),
]
PrefixOption = Annotated[str, typer.Option("--prefix", help="Topic prefix.")]
TrustedKeyOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--trusted-key",
        help="Ed25519 public key (PEM); the bundle must be signed with it, or with another one given so.",
    ),
]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log more, to stderr.")]


class LogFormat(StrEnum):
    """Forms of log lines."""

    TEXT = "text"
    JSON = "json"


LogFormatOption = Annotated[
    LogFormat | None,
    typer.Option(
        "--log-format",
        envvar="DISC_STREAM_LOG_FORMAT",
        help="Form of log lines, on stderr: text, or one JSON object a line. Default: text",
    ),
]

DEFAULT_BROKER = "mqtt://127.0.0.1:1883"


def require_extras(needed_for: str, *extras: str) -> None:
    """Check that optional dependencies are installed, without importing them.

    Raises:
        MissingExtraError: naming all the extras to install.
    """
    missing = [extra for extra in extras if any(map(_is_missing, _PROBES[extra]))]
    if "export" in missing and _has_gpu_runtime():
        # The CPU's runtime, which `export` brings along, would overwrite it.
        missing[missing.index("export")] = "demo"
    if missing:
        raise MissingExtraError(",".join(missing), needed_for)


def _has_gpu_runtime() -> bool:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("onnxruntime-gpu")
    except PackageNotFoundError:
        return False
    return True


def _is_missing(module: str) -> bool:
    return importlib.util.find_spec(module) is None


def require_path(path: Path, what: str) -> Path:
    """Check that a file or folder exists.

    Raises:
        InputNotFoundError: naming it.
    """
    if not path.exists():
        raise InputNotFoundError(f"{what} {str(path)!r} does not exist", remedy="Check the path")
    return path


def require_writable(path: Path) -> None:
    """Check that a file or folder can be written or made, before hours are spent on what goes there.

    Raises:
        UsageError: naming the folder that cannot be written to, or the file that lies where a folder must.
    """
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir() and place != path.absolute():
        raise UsageError(f"{str(path)!r} cannot be written: {str(place)!r} is a file", remedy="Name another")
    if not os.access(place, os.W_OK | (os.X_OK if place.is_dir() else 0)):
        raise UsageError(
            f"{str(path)!r} cannot be written: {str(place)!r} is read-only, or you may not write to it",
            remedy="Choose another place, or check the permissions there",
        )


def say(text: str, *, err: bool = False, file: TextIO | None = None) -> None:
    """Print lines for people; what is not printable in them, such as in a name from a file, is escaped."""
    typer.echo(printable_lines(text), file=file, err=err)


def require_free(out: Path, *, force: bool) -> None:
    """Check that a file may be written: nothing is there yet, or it is to be replaced.

    Raises:
        ConfigError: naming it.
    """
    if not force and (out.exists() or out.is_symlink()):
        raise ConfigError(
            f"{str(out)!r} exists already", remedy="Give another name, or --force to replace it"
        )


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object on stdout."""
    json.dump(value, sys.stdout, indent=2, allow_nan=False, default=str)
    sys.stdout.write("\n")
    sys.stdout.flush()


def setup_logging(verbose: bool, form: str | None = None) -> None:
    """Log to stderr: warnings only, or everything from our own packages with ``verbose``.

    Args:
        verbose: whether to say more.
        form: ``text`` or ``json``; None for text.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(log_formatter(form or LogFormat.TEXT))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("disc_stream").setLevel(logging.DEBUG if verbose else logging.INFO)
    for package in ("disc_stream_server", "disc_stream_edge", "disc_stream_export"):
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)


def parse_settings(pairs: list[str]) -> dict[str, Any]:
    """Parse ``--set NAME=VALUE`` options; a value is JSON, or a plain word.

    Raises:
        ConfigError: if one is not of that form.
    """
    settings = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise ConfigError(f"--set {pair!r} is not NAME=VALUE", remedy="Write it like --set hidden=128")
        try:
            settings[name] = json.loads(text)
        except json.JSONDecodeError:
            settings[name] = text  # a word, such as grid
    return settings


_MOST_CLUSTERS = 10_000


def parse_clusters(clusters: str | None) -> int | Literal["auto"] | None:
    """What ``--clusters`` says: K, ``auto``, or None for the default.

    Raises:
        UsageError: if it is something else.
    """
    if clusters is None or clusters == "auto":
        return cast("Literal['auto'] | None", clusters)
    if not clusters.isascii() or not clusters.isdigit() or not 2 <= int(clusters) <= _MOST_CLUSTERS:
        raise UsageError(
            f"--clusters must be a whole number from 2 on, or auto; got {clusters!r}",
            remedy="Give --clusters 6, for instance, or --clusters auto",
        )
    return int(clusters)


@contextmanager
def reading(name: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on stderr, if that is a terminal; yields the readers' callback ``(done, total)``."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(f"reading {escape(name)}", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
