"""Is a bundle what it says it is, and does its graph compute here what it computed at its export?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.manifest import SIGNATURE_FILE
from disc_stream.artifacts.runtime import OUTPUTS, Encoded, OnnxEncoder, Provider
from disc_stream.artifacts.selftest import (
    SELFTEST_FILE,
    TOLERANCE,
    SelfTest,
    hard_windows,
    synthetic_windows,
)
from disc_stream.errors import BundleError, DiscStreamError, InputNotFoundError
from disc_stream.types import Float32Array


class Check(NamedTuple):
    """One thing that was looked at.

    Args:
        name: what.
        passed: None where the bundle has nothing to check.
        detail: what was found, for people.
        remedy: what to do where it did not pass.
    """

    name: str
    passed: bool | None
    detail: str
    remedy: str = ""


def verify_bundle(
    path: Path, trusted_keys: Sequence[Path] | None = None, provider: Provider = "cpu"
) -> list[Check]:
    """Check everything about a bundle; stops where what follows could not be looked at.

    Args:
        path: folder or zip.
        trusted_keys: PEM files of public keys, one of which must have signed it; None asks for no signature.
        provider: what to run the graph on.

    Raises:
        InputNotFoundError: if there is nothing at ``path``, or no key where one is named.
        MissingExtraError, ConfigError: if the graph cannot be run here, whatever the bundle is.
    """
    try:
        bundle = Bundle.open(path, trusted_keys=trusted_keys)
    except InputNotFoundError:
        raise
    except BundleError as error:
        return [_failed("files, hashes and form", error)]
    n = len(bundle.files)
    checks = [Check("files, hashes and form", True, f"{n} files, schema {bundle.manifest.schema_version}")]
    checks.append(_signature(bundle, trusted_keys))
    try:
        encoder = OnnxEncoder(bundle, provider)
    except BundleError as error:
        return [*checks, _failed("graph loads", error)]
    checks.append(Check("graph loads", True, f"on {encoder.provider}, as the manifest describes it"))
    try:
        own_test(bundle)  # the other checks run on its windows
    except BundleError as error:
        return [*checks, _failed("self-test", error)]
    runs: tuple[Callable[[Bundle, OnnxEncoder], Check], ...] = (_finite, _nan, _company, _selftest)
    for run in runs:
        try:
            checks.append(run(bundle, encoder))
        except DiscStreamError as error:
            checks.append(_failed("graph runs", error))
    return checks


def _failed(name: str, error: DiscStreamError) -> Check:
    return Check(name, False, error.message, error.remedy or "")


def _signature(bundle: Bundle, trusted_keys: Sequence[Path] | None) -> Check:
    if trusted_keys is not None:
        return Check("signature", True, "manifest and catalogue are signed with a trusted key")
    if SIGNATURE_FILE in bundle.files:
        return Check("signature", None, "signed, and not checked: give --trusted-key")
    return Check("signature", None, "not signed")


def own_test(bundle: Bundle) -> SelfTest | None:
    """The windows that a bundle carries; None if it carries none.

    Raises:
        BundleError: if they are not what its manifest describes.
    """
    data = bundle.files.get(SELFTEST_FILE)
    return None if data is None else SelfTest.of_bytes(data, bundle.manifest, f"bundle {str(bundle.path)!r}")


def usual_windows(bundle: Bundle, n: int) -> Float32Array:
    """Windows that the bundle's model can be tried with: its own synthetic ones, or others made alike."""
    shape = (bundle.manifest.window.input_samples, len(bundle.manifest.channels))
    if (test := own_test(bundle)) is not None:
        return np.ascontiguousarray(np.resize(test.windows, (n, *shape)))
    scaler = bundle.manifest.scaler
    scale = np.abs(np.asarray(scaler.scale, dtype=np.float64))
    spread = np.clip(1.0 / np.maximum(scale, 1e-6), 0.0, 1e6)
    return synthetic_windows(n, shape, np.asarray(scaler.offset, dtype=np.float32), spread.astype(np.float32))


def _finite(bundle: Bundle, encoder: OnnxEncoder) -> Check:
    shape = (bundle.manifest.window.input_samples, len(bundle.manifest.channels))
    x = np.concatenate([usual_windows(bundle, 16), hard_windows(shape, usual_windows(bundle, 8))])
    got = encoder.encode(x)
    bad = ~_finite_rows(got)
    if bad.any():
        return Check(
            "finite", False, f"{bad.sum()} of {len(x)} windows have no finite label", "Export its run again"
        )
    return Check("finite", True, f"{len(x)} windows, at rest, dead, saturated and usual")


def _finite_rows(got: Encoded) -> np.ndarray:
    found: np.ndarray = np.all([np.isfinite(getattr(got, name)).all(axis=1) for name in OUTPUTS], axis=0)
    return found


def _nan(bundle: Bundle, encoder: OnnxEncoder) -> Check:
    x = usual_windows(bundle, 3)
    x[1, 0, 0] = np.nan
    if _finite_rows(encoder.encode(x)).tolist() == [True, False, True]:
        return Check("missing samples", True, "a window that holds NaN has no label, and the others have")
    return Check(
        "missing samples",
        False,
        "a window that holds NaN has a label, or spoils others",
        "Export its run again",
    )


def _company(bundle: Bundle, encoder: OnnxEncoder) -> Check:
    x = usual_windows(bundle, 64)
    together = encoder.encode(x).labels
    order = np.random.default_rng(0).permutation(len(x))
    shuffled = np.empty_like(together)
    shuffled[order] = encoder.encode(x[order]).labels
    alone = np.concatenate([encoder.encode(x[at : at + 1]).labels for at in range(len(x))])
    other = int(((together != alone) | (together != shuffled)).sum())
    if other:
        return Check(
            "batches",
            False,
            f"{other} of {len(x)} windows have another label in other batches",
            "Use another --provider",
        )
    return Check(
        "batches", True, f"{len(x)} windows have the same label alone, together and in another order"
    )


def _selftest(bundle: Bundle, encoder: OnnxEncoder) -> Check:
    test = own_test(bundle)
    if test is None:
        return Check("self-test", None, "the bundle has none; export its run again to have one")
    got = encoder.encode(test.windows)
    judged = test.differences(got, bundle.catalogue).judged
    worst = {name: float(np.nan_to_num(values, nan=np.inf).max()) for name, values in judged.items()}
    top = np.sort(test.expected.q, axis=1)
    clear = top[:, -1] - top[:, -2] > 2 * TOLERANCE if top.shape[1] > 1 else np.ones(len(top), dtype=bool)
    other = int((clear & (got.labels != test.expected.labels)).sum())
    figures = ", ".join(f"{name} {value:.1e}" for name, value in worst.items())
    detail = f"{len(test.windows)} windows, {other} with another label; largest differences {figures}"
    if other or max(worst.values()) > TOLERANCE:
        remedy = "Use another --provider or version of onnxruntime, or export its run again"
        return Check("self-test", False, f"{detail}; {TOLERANCE:g} is allowed", remedy)
    return Check("self-test", True, detail)
