"""``disc-stream data export``: what a server has received and labelled, as a dataset."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from disc_stream.cli.common import JsonOption, TrustedKeyOption, print_json, require_extras, require_path, say
from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream.stream.sessions import StreamSpec
    from disc_stream_server.dataset.parquet import Source

StateOption = Annotated[
    Path | None,
    typer.Option("--state", help="The server's state folder. Default: in ~/.local/state/disc-stream"),
]
PrefixOption = Annotated[str, typer.Option("--prefix", help="Topic prefix.")]


def state_folder(state: Path | None) -> Path:
    """The folder named, or the one that `serve` uses by default.

    Raises:
        InputNotFoundError: if it is not there.
    """
    from disc_stream.config import default_state

    return require_path(state or default_state("disc-stream-server"), "state folder")


def export(
    out: Annotated[Path, typer.Option("--out", "-o", help="A new or empty folder.")],
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle", help="The model whose windows and labels are meant; without one, windows alone."
        ),
    ] = None,
    trusted_key: TrustedKeyOption = None,
    window_s: Annotated[
        float, typer.Option("--window-s", min=0.1, help="Without a model: length of the windows, in seconds.")
    ] = 2.56,
    state: StateOption = None,
    prefix: PrefixOption = "ds/v1",
    any_model: Annotated[
        bool, typer.Option("--any-model", help="Labels of any model; default: those of the bundle's version.")
    ] = False,
    all_windows: Annotated[bool, typer.Option("--all", help="Also windows that have no label.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write what a server has received and labelled as Parquet: SI units, one rate, soft labels.

    Reads the spool and the labels, also while the server runs. Every file says
    what its columns are, which model labelled it and how that was trained.

    Without --bundle it writes windows without labels, in the channels and at
    the rate of the first device: to train a first model on what `serve
    --collect` has received.

    Example: disc-stream data export --bundle bundles/hapt --out shared/hapt
    """
    require_extras("disc-stream data export", "parquet")
    from rich.console import Console

    from disc_stream_server.dataset.parquet import header_of, write_dataset
    from disc_stream_server.dataset.replay import Replay

    if out.exists() and any(out.iterdir()):
        raise ConfigError(f"the folder {str(out)!r} is not empty", remedy="Name a new one with --out")
    folder = state_folder(state)
    spec, model = _windows_of(bundle, trusted_key, folder, prefix, window_s)
    version = None if any_model or model is None else model.manifest.version
    replay = Replay(folder, spec, prefix=prefix, model=version)
    try:
        with Console(stderr=True).status("reading the spool") as status:

            def progress(done: int, total: int) -> None:
                status.update(f"reading the spool: {done:,} of {total:,} messages")

            header = header_of(spec, prefix=prefix, source=model)
            everything = all_windows or model is None
            written = write_dataset(replay.windows(progress), out, header, all_windows=everything)
    finally:
        replay.close()
    if as_json:
        print_json(
            {
                "out": str(out), "windows": written.windows, "labelled": written.labelled,
                "devices": written.devices, "files": written.files,
            }
        )  # fmt: skip
        return
    say(
        f"{written.windows:,} windows ({written.labelled:,} labelled) of {written.devices} devices in "
        f"{written.files} files: {out}"
    )
    if written.windows:
        say(f"next: disc-stream train --dataset {quote(str(out))} --out RUN")
    elif not all_windows:
        say("no window has a label of this model; --all writes those without one, too")


def _windows_of(
    bundle: Path | None, trusted_key: list[Path] | None, state: Path, prefix: str, window_s: float
) -> tuple[StreamSpec, Source | None]:
    """Which windows are meant: those of a model, or those that the devices' own streams suggest."""
    if bundle is None:
        from disc_stream_server.dataset.collected import spec_of_collected

        return spec_of_collected(state, prefix, window_s), None
    from disc_stream.artifacts.bundle import Bundle
    from disc_stream_server.dataset.parquet import Source
    from disc_stream_server.dataset.replay import whole_windows

    opened = Bundle.open(bundle, trusted_keys=trusted_key)
    return whole_windows(opened.manifest), Source(opened.manifest, opened.catalogue)
