"""What is looked at before a retraining begins."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from disc_stream.artifacts import bundle
from disc_stream.artifacts.signing import load_private_key, verify
from disc_stream.errors import BundleError, ConfigError
from disc_stream.registry.people import MAX_WHY, checked_text
from disc_stream.retraining.request import RetrainRequest


def check_request(request: RetrainRequest) -> None:
    """Find out now what would come to light after hours.

    Raises:
        ConfigError: if device, method, settings, keys, or what is told of who and why cannot be used.
        InputNotFoundError: if a key file is not there.
    """
    from disc_stream.training.fitting import pick_device
    from disc_stream.training.session import exportable_recipe

    pick_device(request.device)
    checked_text(request.who, "who")
    checked_text(request.why, "the reason", MAX_WHY)
    exportable_recipe(request.method).resolve(request.preset, request.settings)
    if request.trusted_key is not None and request.sign_key is None:
        raise ConfigError(
            "the new version must be signed by a trusted key, but no key to sign it with is given",
            remedy="Add --sign KEY.pem, or leave --trusted-key out",
        )
    if request.sign_key is not None:
        _check_keys(request.sign_key, request.trusted_key)


def _check_keys(sign_key: Path, trusted: tuple[Path, ...] | None) -> None:
    signature = load_private_key(sign_key).sign(b"")
    if trusted is None:
        return
    try:
        verify(b"", signature, trusted, "the new version")
    except BundleError as error:
        raise ConfigError(
            f"{str(sign_key)!r} belongs to none of the trusted keys",
            remedy="Trust its public key too, or sign with another one",
        ) from error


@contextmanager
def said_once() -> Iterator[None]:
    """Let it be logged once that signatures are not checked, not for every time that our bundle is opened."""
    logger, said = logging.getLogger(bundle.__name__), False

    def first(record: logging.LogRecord) -> bool:
        nonlocal said
        if not record.msg.startswith("no signature"):
            return True
        said, before = True, said
        return not before

    logger.addFilter(first)
    try:
        yield
    finally:
        logger.removeFilter(first)
