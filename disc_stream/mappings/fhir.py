"""Episodes as FHIR Observations of the Physical Activity implementation guide.

One episode is three observations: what it was, how long it took, and the group that holds both together. Only
activities that a person has named are exercise to anybody: of a cluster without a name, of unknown motion and
of a device that is not worn there is nothing to say to a health record.

Source: HL7 U.S. Physical Activity IG 1.0.0 on FHIR R4, profiles PA Observation Activity Measure and Activity
Group; LOINC 73985-4 and 55411-3 with the answers of the former.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable
from typing import Any, Protocol

from disc_stream.mappings.times import rfc3339

_GUIDE = "http://hl7.org/fhir/us/physical-activity"
_MEASURE = f"{_GUIDE}/StructureDefinition/pa-observation-activity-measure"
_GROUP = f"{_GUIDE}/StructureDefinition/pa-observation-activity-group"
_PA_CODES = f"{_GUIDE}/CodeSystem/pa-temporary-codes"
_LOINC = "http://loinc.org"
_CATEGORIES = "http://terminology.hl7.org/CodeSystem/observation-category"
_UCUM = "http://unitsofmeasure.org"
_NAMESPACE = uuid.UUID("6a7e5d1c-4c1e-5b0a-9a53-0c1d6f7e2b48")
_MACHINE_NAME = re.compile(r"cluster[ -]\d+")
_ANSWERS = {
    "walking": ("LA11834-1", "Walking"),
    "jogging": ("LA11835-8", "Jogging"),
    "running": ("LA11836-6", "Running"),
    "bicycling": ("LA11837-4", "Bicycling"),
    "cycling": ("LA11837-4", "Bicycling"),
    "swimming": ("LA11838-2", "Swimming"),
}


class EpisodeLike(Protocol):
    """What is asked of an episode; ``disc_stream_server.storage.history.Episode`` is one."""

    @property
    def device(self) -> str:
        """Its device."""
        ...

    @property
    def begin_us(self) -> int:
        """Begin, Unix microseconds."""
        ...

    @property
    def end_us(self) -> int:
        """End, Unix microseconds."""
        ...

    @property
    def goes_on(self) -> bool:
        """Whether it has not ended yet."""
        ...

    @property
    def cluster(self) -> int:
        """Public id; negative for a state."""
        ...

    @property
    def name(self) -> str:
        """Of the cluster."""
        ...


def is_activity(episode: EpisodeLike) -> bool:
    """Whether a health record may have it: over, of a cluster, and of one that has a name."""
    return not episode.goes_on and episode.cluster >= 0 and not _MACHINE_NAME.fullmatch(episode.name)


def to_observations(episode: EpisodeLike, subject: str) -> list[dict[str, Any]]:
    """The observations of one episode: what, how long, and their group.

    Args:
        episode: one of which ``is_activity`` holds.
        subject: reference to the patient, such as ``Patient/17``.

    Returns:
        Three resources as JSON values; their ids follow from the episode, so that one that is exported again
        is the same resource.
    """
    what, took, group = (_id(episode, subject, part) for part in ("activity", "duration", "group"))
    minutes = max(0, episode.end_us - episode.begin_us) / 60e6
    quantity = {"value": round(minutes, 3), "unit": "minutes", "system": _UCUM, "code": "min"}
    members = [{"reference": f"Observation/{one}"} for one in (what, took)]
    return [
        {
            **_observation(episode, subject, what, _MEASURE, _loinc("73985-4", "Exercise activity")),
            "valueCodeableConcept": _activity(episode.name),
        },
        {
            **_observation(episode, subject, took, _MEASURE, _loinc("55411-3", "Exercise duration")),
            "valueQuantity": quantity,
        },
        {
            **_observation(episode, subject, group, _GROUP, _pa_code("PAPanel", "Physical Activity Panel")),
            "hasMember": members,
        },
    ]


def to_bundle(episodes: Iterable[EpisodeLike], subject: str) -> dict[str, Any]:
    """A transaction that puts all observations of episodes into a FHIR server; others are left out.

    Args:
        episodes: of one person.
        subject: reference to the patient.
    """
    observations = [
        one for episode in episodes if is_activity(episode) for one in to_observations(episode, subject)
    ]
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"Observation/{one['id']}"}}
        for one in observations
    ]
    bundle: dict[str, Any] = {"resourceType": "Bundle", "type": "transaction"}
    return {**bundle, "entry": entries} if entries else bundle  # an empty list is no FHIR


def _observation(
    episode: EpisodeLike, subject: str, one: str, profile: str, code: dict[str, Any]
) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "id": one,
        "meta": {"profile": [profile]},
        "status": "final",
        "category": [
            _concept(_CATEGORIES, "activity", "Activity"),
            _pa_code("PhysicalActivity", "Physical Activity"),
        ],
        "code": code,
        "subject": {"reference": subject},
        "performer": [{"reference": subject}],
        "effectivePeriod": {"start": rfc3339(episode.begin_us), "end": rfc3339(episode.end_us)},
        "device": {"identifier": {"system": "urn:disc-stream:device", "value": episode.device}},
    }


def _activity(name: str) -> dict[str, Any]:
    """The answer of LOINC's list that a name stands for; beside the words that people use."""
    text = _text(name)
    answer = _ANSWERS.get(text.casefold())
    coding = {} if answer is None else _concept(_LOINC, *answer)
    return {**coding, "text": text}


def _text(name: str) -> str:
    """FHIR texts have no control characters, no white space at their ends, and are not empty."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split()) or "unnamed"


def _loinc(code: str, display: str) -> dict[str, Any]:
    return _concept(_LOINC, code, display)


def _pa_code(code: str, display: str) -> dict[str, Any]:
    return _concept(_PA_CODES, code, display)


def _concept(system: str, code: str, display: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": display}]}


def _id(episode: EpisodeLike, subject: str, part: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{subject} {episode.device} {episode.begin_us} {part}"))
