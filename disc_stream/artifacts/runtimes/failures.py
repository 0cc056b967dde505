"""Errors that every runtime raises alike."""

from __future__ import annotations

from disc_stream.artifacts.bundle import Bundle
from disc_stream.errors import BundleError


def unfit(bundle: Bundle, what: str) -> BundleError:
    """A graph that is not what its manifest says."""
    return BundleError(
        f"the graph of bundle {str(bundle.path)!r} is not the one its manifest describes: {what}",
        remedy="Export it again",
    )


def unloadable(bundle: Bundle, error: Exception, runtime: str) -> BundleError:
    """A graph that a runtime does not load."""
    lines = [line.strip() for line in str(error).splitlines()]
    # OpenVINO says first where in its own source the exception comes from.
    said = [line for line in lines if line and not line.startswith("Exception from")]
    return BundleError(
        f"the graph of bundle {str(bundle.path)!r} cannot be loaded: {(said or lines or ['?'])[0]}",
        remedy=f"Export it again, or upgrade {runtime}",
    )
