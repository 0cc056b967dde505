"""TLS to the broker: 1.2 or newer, the broker's name always checked, and errors that name the file."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

from disc_stream.errors import BrokerError, ConfigError
from disc_stream.wire.broker import Broker
from disc_stream.wire.certificate import validity
from disc_stream.wire.dial import LookupTimeoutError, NoAnswerError
from disc_stream.wire.secrecy import reading, warn_if_open, warn_once

_SOON = datetime.timedelta(days=30)


def make_context(broker: Broker) -> ssl.SSLContext:
    """What an encrypted connection to the broker needs.

    Raises:
        ConfigError: if a file of certificates or keys cannot be used, or a certificate is not valid now.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks the certificate and the host's name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if broker.ca_file is None:
        context.load_default_certs()
    else:
        _trust(context, broker.ca_file)
    if broker.cert_file is not None:
        _identify(context, broker.cert_file, broker.key_file or broker.cert_file)
    return context


def _trust(context: ssl.SSLContext, file: str) -> None:
    what = "certificate authority"
    _read(file, what)
    try:
        context.load_verify_locations(cafile=file)
    except (ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"the {what} {file!r} is not a certificate in PEM", remedy="Name the broker's ca.crt"
        ) from error
    _check_time(file, what, "Get a new one from whoever runs the broker")


def _identify(context: ssl.SSLContext, cert_file: str, key_file: str) -> None:
    _read(cert_file, "certificate")
    _read(key_file, "private key")
    warn_if_open(Path(key_file), "private key")
    try:
        context.load_cert_chain(cert_file, key_file, password=_no_passphrase)
    except ssl.SSLError as error:
        pair = f"the certificate {cert_file!r} and the private key {key_file!r}"
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"{pair} do not belong together", remedy="Name the key that the certificate was made for"
            ) from None
        raise ConfigError(
            f"{pair} cannot be used: {error.reason or 'no certificate or no key in PEM'}",
            remedy="Name PEM files",
        ) from None
    except _EncryptedKeyError:
        raise ConfigError(
            f"the private key {key_file!r} is encrypted",
            remedy="Decrypt it (openssl pkey -in KEY -out PLAIN) and keep it readable by its owner only",
        ) from None
    _check_time(cert_file, "certificate", "Ask for a new one: disc-stream broker add-device DEVICE --renew")


class _EncryptedKeyError(Exception):
    pass


def _no_passphrase() -> str:
    """Called by ssl where a key is encrypted; without it, ssl would ask on the terminal and wait."""
    raise _EncryptedKeyError


def _read(file: str, what: str) -> None:
    """Give the reason that ssl leaves out of its errors."""
    with reading(file, what), Path(file).open("rb") as stream:
        stream.read(1)


def _check_time(file: str, what: str, remedy: str) -> None:
    span = validity(Path(file))
    if span is None:  # a form that we do not read; the broker will judge it
        return
    now = datetime.datetime.now(datetime.UTC)
    begin, end = span
    if now > end:
        raise ConfigError(f"the {what} {file!r} expired on {end:%Y-%m-%d}", remedy=remedy)
    if now < begin:
        raise ConfigError(
            f"the {what} {file!r} is not valid before {begin:%Y-%m-%d %H:%M} UTC",
            remedy="Check this machine's clock",
        )
    if end - now < _SOON:
        warn_once(f"the {what} {file!r} expires on {end:%Y-%m-%d}")


def connect_error(broker: Broker, error: Exception) -> BrokerError:
    """What a person can do about a connection that did not come about."""
    message = f"cannot reach the broker at {broker}: {_reason(error)}"
    if isinstance(error, LookupTimeoutError):
        return BrokerError(message, remedy="Check the host's name and this machine's name server (DNS)")
    if isinstance(error, NoAnswerError):
        return BrokerError(message, remedy="Check that an MQTT broker listens there")
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerError(message, remedy=_certificate_remedy(broker, error))
    remedy = "Check that it runs and that host and port are right"
    if broker.tls:
        remedy += ", and that it speaks TLS on that port"
    return BrokerError(message, remedy=remedy)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or "the other side closed the connection"
        return f"TLS failed ({reason.lower().replace('_', ' ')})"
    return str(error)


def _certificate_remedy(broker: Broker, error: ssl.SSLCertVerificationError) -> str:
    match error.verify_code:
        case 62 | 64:  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
            return f"Use a name that the certificate is for, or have one made for {broker.host!r}"
        case 10:  # X509_V_ERR_CERT_HAS_EXPIRED
            return "Have the broker's certificate renewed, or check this machine's clock"
        case 9:  # X509_V_ERR_CERT_NOT_YET_VALID
            return "Check this machine's clock"
        case _:
            if broker.ca_file is None:
                return "If the broker has a certificate authority of its own, add ?ca=FILE to the URL"
            return (
                f"Check that {broker.ca_file!r} is the authority of this broker; do not go on if it should be"
            )


def refusal_remedy(broker: Broker) -> str:
    """What to look at when the broker closes or refuses a connection."""
    if broker.cert_file is not None:
        return (
            f"Check that the broker trusts the certificate {broker.cert_file!r} and has not revoked it, "
            "and its access rights"
        )
    remedy = "Check user name, password, client id, MQTT version and access rights"
    return remedy if broker.tls else f"{remedy}; where it speaks TLS, the URL begins with mqtts://"
