"""``disc-stream retrain``: the next version of a registry, from what a server has received."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import (
    JsonOption,
    PrefixOption,
    SeedOption,
    TrustedKeyOption,
    VerboseOption,
    parse_clusters,
    parse_settings,
    require_extras,
    say,
    setup_logging,
)
from disc_stream.cli.registries import ModelsOption
from disc_stream.cli.streams import StateOption, state_folder
from disc_stream.errors import ConfigError

if TYPE_CHECKING:
    from disc_stream.retraining.pipeline import Outcome
    from disc_stream.retraining.request import Progress, RetrainRequest

_EVERY_S = 1.0
REJECTED = 3
"""Exit code: the candidate was rejected by the gate."""


def retrain(
    models: ModelsOption,
    state: StateOption = None,
    prefix: PrefixOption = "ds/v1",
    method: Annotated[str, typer.Option("--method", help="disc, dsc or disc-plus.")] = "disc",
    preset: Annotated[
        str, typer.Option("--preset", help="See `train --help`; default: as in production.")
    ] = "default",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Replace a setting of the preset; repeatable."),
    ] = None,
    clusters: Annotated[
        str | None,
        typer.Option(
            "--clusters",
            metavar="NUMBER|auto",
            help="How many, or auto to find it in the motion alone. Default: as many as in production, and "
            "one more for every group of motion that was not there before; auto for a first model.",
        ),
    ] = None,
    windows: Annotated[int, typer.Option("--windows", help="Windows to learn from, at most.")] = 20_000,
    half_life_days: Annotated[
        float, typer.Option("--half-life-days", help="Age at which windows count half.")
    ] = 7.0,
    window_s: Annotated[
        float, typer.Option("--window-s", help="Length of windows, for a first model.")
    ] = 2.56,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="Do not go on from the weights in production.")
    ] = False,
    no_examples: Annotated[
        bool,
        typer.Option("--no-examples", help="Keep no windows of the clusters with the version, to look at."),
    ] = False,
    seed: SeedOption = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="Default: all cores.")] = None,
    nice: Annotated[
        int, typer.Option("--nice", min=0, max=19, help="Priority below that of other processes.")
    ] = 10,
    sign: Annotated[
        Path | None, typer.Option("--sign", help="Private key to sign the new version with.")
    ] = None,
    trusted_key: TrustedKeyOption = None,
    no_promote: Annotated[
        bool, typer.Option("--no-promote", help="Leave the new version a candidate.")
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Do not go on with an unfinished retraining; begin anew.")
    ] = False,
    why: Annotated[str, typer.Option("--why", help="For the history; one line.")] = "asked for",
    who: Annotated[
        str | None, typer.Option("--who", help="For the history. Default: your user name.")
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only say what there is to learn from, and whether it is due."),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option("--config", help="With --dry-run: the server's YAML file, for its rules of retraining."),
    ] = None,
    until_stdin_ends: Annotated[
        bool,
        typer.Option("--until-stdin-ends", hidden=True, help="End with the process that has started it."),
    ] = False,
    as_json: JsonOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Learn again from what a server has received, and put the result into production if it is as good.

    Chooses windows from the spool (recent ones first, all devices and clusters
    alike), trains, exports, and finds out which cluster is which of the old ones,
    so that ids and names stay. The acceptance gate then compares the candidate
    with the version in production; a rejected one stays in the registry to be
    looked at (exit code 3). A running `serve --models` follows by itself.

    A retraining that was stopped goes on where it was when the same command is
    given again.

    With --dry-run it says how much there is to learn from and, with the --config
    of a server, whether that would retrain now, and why.

    Example: disc-stream retrain --models models --why "weekly"
    """
    if dry_run:
        from disc_stream.cli.retrain_dryrun import tell_dry_run

        setup_logging(verbose)
        tell_dry_run(models, state_folder(state), prefix, (windows, window_s), config, as_json=as_json)
        return
    if config is not None:
        raise ConfigError("--config goes with --dry-run", remedy="Give the settings as options instead")
    if until_stdin_ends:
        _end_with_stdin()
    require_extras("disc-stream retrain", "train", "export")
    from disc_stream.registry import user_name
    from disc_stream.retraining.pipeline import retrain as run
    from disc_stream.retraining.request import RetrainRequest

    setup_logging(verbose)
    folder = state_folder(state)
    os.umask(0o077)  # what is on its way holds recorded motion
    request = _request(
        RetrainRequest,
        {
            "models": models, "state": folder, "prefix": prefix, "method": method, "preset": preset,
            "settings": parse_settings(settings or []), "clusters": parse_clusters(clusters),
            "windows": windows,
            "half_life_days": half_life_days, "window_s": window_s, "from_scratch": from_scratch,
            "examples": not no_examples, "seed": seed, "device": device, "threads": threads, "sign_key": sign,
            "trusted_key": tuple(trusted_key) if trusted_key else None,
            "promote": not no_promote, "why": why, "who": who or user_name(),
        },
    )  # fmt: skip
    os.nice(nice)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    outcome = run(request, _teller(as_json), discard=discard)
    if as_json:
        _print_line({"event": "done", **outcome_facts(outcome)})
    else:
        _tell_outcome(outcome, models)
    if outcome.rejected:
        raise typer.Exit(REJECTED)


def _end_with_stdin() -> None:
    """End at once when stdin does: whoever has started us is gone. What is done is on disk."""
    import threading

    def wait() -> None:
        while os.read(0, 1024):  # not sys.stdin: a thread that waits in there is in the way of our own end
            pass
        os._exit(143)

    threading.Thread(target=wait, daemon=True).start()


def _request(kind: type[RetrainRequest], values: dict[str, Any]) -> RetrainRequest:
    from pydantic import ValidationError

    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", "-")
        raise ConfigError(
            f"--{name} is not usable: {first['msg']}", remedy="See: disc-stream retrain --help"
        ) from None


def _teller(as_json: bool) -> Callable[[Progress], None]:
    """Prints how far it is: a line when a phase begins or says something new, at most one a second."""
    import time

    phase, told_at = "", 0.0

    def tell(progress: Progress) -> None:
        nonlocal phase, told_at
        now = time.monotonic()
        if progress.phase == phase and now - told_at < _EVERY_S:
            return
        phase, told_at = progress.phase, now
        if as_json:
            _print_line({"event": "progress", **progress._asdict()})
            return
        of = "" if progress.total is None else f" {progress.done:,} of {progress.total:,}"
        say(f"{progress.phase:8}{of} {progress.words}", err=True)

    return tell


def _print_line(value: dict[str, Any]) -> None:
    import json

    say(json.dumps(value, allow_nan=False))


def outcome_facts(outcome: Outcome) -> dict[str, Any]:
    """What came of a retraining, for ``--json``."""
    version, deployment = outcome.version, outcome.deployment
    return {
        "version": version.version,
        "number": version.number,
        "promoted": deployment is not None,
        "rejected": outcome.rejected,
        "windows": outcome.windows,
        "seen": outcome.seen,
        "devices": outcome.devices,
        "gate": [check.model_dump() for check in outcome.checks],
        "transitions": [one.model_dump() for one in version.proposal.transitions],
    }


def _tell_outcome(outcome: Outcome, models: Path) -> None:
    version = outcome.version
    say(
        f"version {version.number} ({version.version}) learned from {outcome.windows:,} of {outcome.seen:,} "
        f"windows of {outcome.devices} devices"
    )
    for check in outcome.checks:
        say(f"  {'passed' if check.passed else 'FAILED'}  {check.measure}: {check.reason}")
    where = f"--models {quote(str(models))}"
    if outcome.rejected:
        say("it was rejected; the version before stays in production")
        say(f"next: disc-stream models show {version.number} {where}")
    elif outcome.deployment is not None:
        say("it is in production")
        say(f"next: disc-stream clusters list {where}")
    elif version.ids is not None:
        say("nothing new was learned: it is the model of that version, which was in production before")
        say(f"next: disc-stream models list {where}")
    else:
        say(f"next: disc-stream models promote {version.number} {where} --why REASON")
