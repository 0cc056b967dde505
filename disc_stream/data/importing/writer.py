"""Writing an import: the recordings in the uniform format, and the settings beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from disc_stream.data.importing.plan import ImportPlan
from disc_stream.data.importing.settings import Settings, write_settings
from disc_stream.data.types import Recording
from disc_stream.data.uniform import DatasetFacts, Provenance, UniformHeader, write_uniform

_USUAL_CLUSTERS = 6


def settings_path(out: Path) -> Path:
    """Where the settings of an import are kept: beside its result."""
    return out.with_suffix(".import.yaml")


def write_import(
    out: Path, plan: ImportPlan, recordings: Sequence[Recording], settings: Settings
) -> UniformHeader:
    """Write what a plan says.

    Args:
        out: the ``.npz`` to write.
        plan: shown before.
        recordings: in one form.
        settings: what a person has decided; saved beside the result, with the people that were found.

    Raises:
        DataError: if the file cannot be written.
        ConfigError: if the settings cannot be written beside it.
    """
    notes = [f"{one.name}: {words}" for one in plan.recordings for words in one.words()]
    facts = DatasetFacts(
        Path(plan.source).stem or "csv",
        len(recordings[0].label_names) or _USUAL_CLUSTERS,
        provenance=Provenance(source=plan.source, notes=[*notes[:500], *plan.dropped, *plan.notes]),
    )
    header = write_uniform(out, recordings, facts)
    people = {file.name: one.owner.person for one in plan.recordings for file in one.files}
    decided = settings.model_copy(update={"people": people, "rate": plan.rate})
    write_settings(settings_path(out), decided)
    return header
