"""The registry: versions of models, which of them is in production, and what their clusters are called."""

from disc_stream.registry.clusters import Author, Clusters
from disc_stream.registry.lineage import (
    GateCheck,
    Lineage,
    NameProposal,
    RowIds,
    RowProposal,
    Transition,
    device_digest,
)
from disc_stream.registry.people import user_name
from disc_stream.registry.records import (
    Change,
    Cluster,
    Deployment,
    Event,
    RowInfo,
    VersionInfo,
    state_of,
)
from disc_stream.registry.registry import Registry

__all__ = [
    "Author",
    "Change",
    "Cluster",
    "Clusters",
    "Deployment",
    "Event",
    "GateCheck",
    "Lineage",
    "NameProposal",
    "Registry",
    "RowIds",
    "RowInfo",
    "RowProposal",
    "Transition",
    "VersionInfo",
    "device_digest",
    "state_of",
    "user_name",
]
