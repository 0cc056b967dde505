"""``disc-stream models which``: the model behind a label, and why it was in production."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, say
from disc_stream.cli.registries import (
    ModelsOption,
    deployment_facts,
    open_registry,
    parse_time,
    time_text,
)
from disc_stream.cli.streams import StateOption, state_folder
from disc_stream.errors import InputNotFoundError

if TYPE_CHECKING:
    from disc_stream.registry import Deployment, VersionInfo
    from disc_stream_server.storage.records import StoredLabel


def which(
    models: ModelsOption,
    device: Annotated[str, typer.Option("--device", help="The device's id.")],
    at: Annotated[str, typer.Option("--at", help="ISO 8601, UTC if no offset is given, or Unix seconds.")],
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say which model labelled a device's window at a time, and why that model was in production then.

    Example: disc-stream models which --device watch-17 --at 2026-11-29T08:30:00 --state state --models models
    """
    unix_us = parse_time(at)
    labels = _labels_at(state, device, unix_us)
    with open_registry(models) as registry:
        answers = [
            (label, registry.deployment_of(label.model, label.labelled_us),
             [info for info in registry.versions() if info.version == label.model])
            for label in labels
        ]  # fmt: skip
    if as_json:
        print_json({"device": device, "at_us": unix_us, "labels": [_answer(*answer) for answer in answers]})
        return
    for label, deployment, known in answers:
        length_s = (label.t1_us - label.t0_us) / 1e6
        say(f"{device}, {length_s:.2f} s from {time_text(label.t0_unix_us or 0)}: {label.name}")
        say(f"  labelled {time_text(label.labelled_us)} by model {label.model}")
        if deployment is not None:
            say(f"  version {deployment.version_number}, in production since {time_text(deployment.at_us)}")
            say(f"  {deployment.kind} by {deployment.who}: {deployment.why}")
            say(f"  gate: {deployment.gate}")
        elif known:
            say(f"  version {known[-1].number}, which was not in production then by this registry")
        else:
            say("  which is no version of this registry")


def _labels_at(state: Path | None, device: str, unix_us: int) -> list[StoredLabel]:
    from disc_stream_server.storage.queries import StateReader

    reader = StateReader(state_folder(state))
    try:
        labels = reader.labels_at(device, unix_us)
        between = None if labels else reader.labelled_between(device)
    finally:
        reader.close()
    if labels:
        return labels
    if between is None:
        raise InputNotFoundError(f"there are no labels of {device!r}", remedy="Check the id and --state")
    first, last = map(time_text, between)
    raise InputNotFoundError(
        f"no window of {device!r} at {time_text(unix_us)} has a label",
        remedy=f"Those that are kept start between {first} and {last} (UTC)",
    )


def _answer(label: StoredLabel, deployment: Deployment | None, known: list[VersionInfo]) -> dict[str, Any]:
    return {
        "window_start_us": label.t0_unix_us,
        "label": label.label,
        "name": label.name,
        "labelled_us": label.labelled_us,
        "model": label.model,
        "version_number": known[-1].number if known else None,
        "deployment": None if deployment is None else deployment_facts(deployment),
    }
