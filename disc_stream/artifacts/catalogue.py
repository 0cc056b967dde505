"""The catalogue of a model's clusters: what each is called, and what is known of it.

It stands beside the model in a file of its own, ``catalogue.json``, and is no part of the model's version: a
cluster that gets a name, or another id, leaves the model what it was.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
)

from disc_stream.errors import BundleError, ConfigError
from disc_stream.text import printable
from disc_stream.wire.limits import MAX_UINT32

CATALOGUE_FILE = "catalogue.json"
CATALOGUE_SIGNATURE_FILE = "catalogue.sig"
CATALOGUE_SCHEMA = "disc-stream.catalogue"
CATALOGUE_SCHEMA_VERSION = 1
MAX_NAME = 64
MAX_DESCRIPTION = 200
MAX_COLOUR = 32
MAX_CLUSTERS = 4096
MAX_CATALOGUE_BYTES = 4 << 20

_EXPORT_AGAIN = "Export the run again, or copy the bundle again"
_MACHINE_NAME = re.compile(r"cluster[ -]\d+")
_LATER_FIELDS = {
    "merged_into": None,
    "muted": False,
    "description": "",
    "colour": "",
    "unknown_above": None,
}


def _only_printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError(f"{text!r:.80} has characters that are not printable")
    return text


PrintableText = Annotated[str, AfterValidator(_only_printable)]
"""Text that does nothing to the terminal it is shown on: no control characters, no change of direction."""


class ClusterInfo(BaseModel):
    """One cluster. Its row is its position in the catalogue, and no field of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: int = Field(ge=0, le=MAX_UINT32, description="its own, which can outlive the row; see merged_into")
    name: PrintableText = Field(min_length=1, max_length=MAX_NAME)
    size: int = Field(ge=0, lt=2**63, description="training windows assigned to it")
    distance_q95: float | None = Field(
        default=None, description="95 % quantile of their squared distance to the centroid"
    )
    unknown_above: float | None = Field(
        default=None,
        ge=0,
        description="squared distance to the centroid from which on a window is unknown; None if none is",
    )
    merged_into: int | None = Field(
        default=None, ge=0, le=MAX_UINT32, description="id under which it is published; None for its own"
    )
    muted: bool = Field(default=False, description="its labels are of no interest to people")
    description: PrintableText = Field(
        default="", max_length=MAX_DESCRIPTION, description="by the machine, shown until it has a name"
    )
    colour: PrintableText = Field(default="", max_length=MAX_COLOUR, description="#rrggbb; empty for any")

    @model_serializer(mode="wrap")
    def _without_later_fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Fields that came later are left out at their defaults, so that older files keep their sha256."""
        fields: dict[str, Any] = handler(self)
        return {
            name: value
            for name, value in fields.items()
            if name not in _LATER_FIELDS or value != _LATER_FIELDS[name]
        }

    @property
    def public_id(self) -> int:
        """What its labels carry."""
        return self.id if self.merged_into is None else self.merged_into


class Catalogue(BaseModel):
    """The clusters of one model; row k describes column k of the encoder's ``q`` and ``distance``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_name: str = CATALOGUE_SCHEMA
    schema_version: int = CATALOGUE_SCHEMA_VERSION
    model: PrintableText = Field(description="version of the model whose clusters these are")
    registry: PrintableText = Field(
        default="", max_length=64, description="of which the ids are: those of one registry mean the same"
    )
    clusters: tuple[ClusterInfo, ...] = Field(min_length=1, max_length=MAX_CLUSTERS)

    @classmethod
    def of(cls, version: str, clusters: Sequence[ClusterInfo]) -> Catalogue:
        """The catalogue of the model of that version.

        Raises:
            ConfigError: if two clusters have one id.
        """
        catalogue = cls(model=version, clusters=tuple(clusters))
        if problem := _problem(catalogue):
            raise ConfigError(problem)
        return catalogue

    def __len__(self) -> int:
        return len(self.clusters)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all clusters, by row."""
        return tuple(cluster.name for cluster in self.clusters)

    @property
    def ids(self) -> tuple[int, ...]:
        """Public ids of all clusters, by row."""
        return tuple(cluster.id for cluster in self.clusters)

    def row_of(self, cluster_id: int) -> int:
        """Row of the cluster with that public id.

        Raises:
            ConfigError: naming the ids that there are.
        """
        if cluster_id not in self.ids:
            known = ", ".join(map(str, sorted(self.ids)))
            raise ConfigError(f"there is no cluster {cluster_id}", remedy=f"The clusters are: {known}")
        return self.ids.index(cluster_id)

    def renamed(self, names: Mapping[int, str]) -> Catalogue:
        """The same clusters, some of them with another name.

        Args:
            names: public id -> name.

        Raises:
            ConfigError: if there is no such cluster, or a name is not usable.
        """
        clusters = list(self.clusters)
        for cluster_id, name in names.items():
            row = self.row_of(cluster_id)
            named = checked_name(name, f"cluster {cluster_id}")
            clusters[row] = clusters[row].model_copy(update={"name": named})
        return self.model_copy(update={"clusters": tuple(clusters)})

    def to_bytes(self) -> bytes:
        """The bytes of ``catalogue.json``, with a checksum of the content."""
        content = _content(self)
        return (
            json.dumps({**content, "sha256": _digest(content)}, indent=2, ensure_ascii=False) + "\n"
        ).encode()


def parse_catalogue(data: bytes, what: str) -> Catalogue:
    """Parse ``catalogue.json``.

    Args:
        data: its bytes.
        what: the bundle, for messages.

    Raises:
        BundleError: if it is no catalogue, is from a newer version, or was changed by hand or damaged.
    """
    if len(data) > MAX_CATALOGUE_BYTES:
        raise BundleError(
            f"{CATALOGUE_FILE} of {what} has more than {MAX_CATALOGUE_BYTES >> 20} MiB", remedy=_EXPORT_AGAIN
        )
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{CATALOGUE_FILE} of {what} is not JSON: {error}", remedy=_EXPORT_AGAIN) from error
    if not isinstance(raw, dict) or raw.get("schema_name") != CATALOGUE_SCHEMA:
        raise BundleError(f"{CATALOGUE_FILE} of {what} is not a catalogue of clusters", remedy=_EXPORT_AGAIN)
    version = raw.get("schema_version")
    if isinstance(version, int) and version > CATALOGUE_SCHEMA_VERSION:
        raise BundleError(
            f"{CATALOGUE_FILE} of {what} was written by a newer disc-stream (schema {version}, "
            f"this one knows {CATALOGUE_SCHEMA_VERSION})",
            remedy="Upgrade disc-stream here, or export the run again with this version",
        )
    digest = raw.pop("sha256", None)
    try:
        catalogue = Catalogue.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in first["loc"])
        raise BundleError(
            f"{CATALOGUE_FILE} of {what}: {where}: {first['msg']}", remedy=_EXPORT_AGAIN
        ) from error
    if digest != _digest(_content(catalogue)):
        raise BundleError(
            f"{CATALOGUE_FILE} of {what} was changed by hand or damaged: its content has another sha256",
            remedy="To name clusters, export again with --names; the model keeps its version",
        )
    if problem := _problem(catalogue):
        raise BundleError(f"{CATALOGUE_FILE} of {what}: {problem}", remedy=_EXPORT_AGAIN)
    return catalogue


def machine_name(cluster_id: int) -> str:
    """What a cluster is called until somebody names it."""
    return f"cluster {cluster_id}"


def is_machine_name(name: str) -> bool:
    """Whether a name is none that anybody gave."""
    return _MACHINE_NAME.fullmatch(name) is not None


def checked_name(name: str, of_what: str) -> str:
    """The name itself, if people and terminals can bear it.

    Raises:
        ConfigError: if it is empty, too long or not printable.
    """
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise ConfigError(
            f"'{printable(name, 80)}' cannot be the name of {of_what}",
            remedy=f"Use 1 to {MAX_NAME} printable characters",
        )
    return name


def _problem(catalogue: Catalogue) -> str:
    """What is wrong with the whole, or an empty text."""
    ids = catalogue.ids
    twice = sorted({cluster_id for cluster_id in ids if ids.count(cluster_id) > 1})
    return f"two clusters have the id {twice[0]}" if twice else ""


def _content(catalogue: Catalogue) -> dict[str, Any]:
    """As it is written, but for the checksum."""
    return catalogue.model_dump(mode="json", exclude=None if catalogue.registry else {"registry"})


def _digest(content: Mapping[str, object]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
