"""From when until when a certificate is valid: RFC 5280, 4.1, with the standard library alone."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
_SEQUENCE, _VERSION, _UTC_TIME, _GENERAL_TIME = 0x30, 0xA0, 0x17, 0x18

Span = tuple[datetime.datetime, datetime.datetime]


def validity(file: Path) -> Span | None:
    """Validity of the first certificate in a PEM file; None if there is none that we can read."""
    try:
        text = file.read_text(encoding="ascii", errors="replace")
        der = ssl.PEM_cert_to_DER_cert(_BEGIN + text.split(_BEGIN, 1)[1].split(_END, 1)[0] + _END)
        return validity_of_der(der)
    except (OSError, ValueError, IndexError):
        return None


def validity_of_der(der: bytes) -> Span:
    """(not before, not after) of a certificate.

    Raises:
        ValueError: if it does not have the form of one.
    """
    certificate = _inside(der, _SEQUENCE)
    rest = _inside(certificate, _SEQUENCE)  # TBSCertificate
    if rest[:1] == bytes([_VERSION]):
        _, _, rest = _element(rest)
    for _ in ("serial number", "signature", "issuer"):
        _, _, rest = _element(rest)
    times = _inside(rest, _SEQUENCE)
    tag, begin, times = _element(times)
    end_tag, end, _ = _element(times)
    return _time(tag, begin), _time(end_tag, end)


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """(tag, content, what follows) of the first element."""
    if len(data) < 2:
        raise ValueError("the certificate ends early")
    length, start = data[1], 2
    if length >= 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(data[2:start], "big")
    if start + length > len(data):
        raise ValueError("the certificate ends early")
    return data[0], data[start : start + length], data[start + length :]


def _inside(data: bytes, expected: int) -> bytes:
    tag, content, _ = _element(data)
    if tag != expected:
        raise ValueError("this is not a certificate")
    return content


def _time(tag: int, content: bytes) -> datetime.datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:  # RFC 5280, 4.1.2.5.1: two digits of the year, 50 to 99 are the last century
        text = ("19" if text >= "5" else "20") + text
    elif tag != _GENERAL_TIME:
        raise ValueError("this is not a time")
    return datetime.datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=datetime.UTC)
