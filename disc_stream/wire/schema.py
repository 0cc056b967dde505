"""Control messages from and to JSON: one ``msgspec.Struct`` each, used in both directions.

A message names its schema in the field ``schema``. Fields that a reader does not know are ignored, so
that later versions can add some; a field that changes its meaning needs a new schema. Messages of devices are
read by ``read_tolerant``, which takes what other JSON writers make of the same values; our own by ``read``.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar, get_args

import msgspec

from disc_stream.errors import PayloadError
from disc_stream.wire.codecs.json_text import load_object, trimmed

MAX_BYTES = 65_536

M = TypeVar("M", bound=msgspec.Struct)

_ENCODER = msgspec.json.Encoder()
_PATH = re.compile(r"(?P<what>.*) - at `\$\.?(?P<path>.*)`", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`")
_TYPE = re.compile(r"Expected `(?P<wanted>.*)`, got `(?P<got>.*)`")
_ENUM = re.compile(r"Invalid enum value .*", re.DOTALL)
_LIMIT = re.compile(r"Expected `(?P<type>\w+)` (?P<limit>[<>]=? .*)")
_JSON_NAMES = {"str": "text", "int": "an integer", "float": "a number", "bool": "true or false"}


def write(message: msgspec.Struct) -> bytes:
    """A message as one line of UTF-8 JSON."""
    return _ENCODER.encode(message)


def read(decoder: msgspec.json.Decoder[M], payload: bytes, what: str, most: int = MAX_BYTES) -> M:
    """Read a message that one of our own programs wrote.

    Args:
        decoder: of the message's type.
        payload: bytes as received.
        what: name of the message for the error, such as ``label``.
        most: bytes that it may have.

    Raises:
        PayloadError: with a reason of the codecs, naming the field; no other exception, whatever the bytes.
    """
    check_size(payload, what, most)
    try:
        return decoder.decode(trimmed(payload))
    except msgspec.ValidationError as error:
        check_schema(decoder.type, load_object(payload), what)
        raise refusal(decoder.type, error, what) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError("malformed", f"the {what} is not valid JSON: {str(error)[:100]}") from None


def read_tolerant(kind: type[M], payload: bytes, what: str) -> M:
    """Read a message that a device wrote; no key twice, for readers disagree about which one counts.

    Raises:
        PayloadError: with a reason of the codecs, naming the field; no other exception, whatever the bytes.
    """
    check_size(payload, what)
    return convert(kind, load_object(payload), what)


def convert(kind: type[M], message: dict[str, Any], what: str) -> M:
    """Check an object that was parsed already against its schema; whole floats count as integers.

    Raises:
        PayloadError: naming the field.
    """
    check_schema(kind, message, what)
    whole = {
        name: int(value) if type(value) is float and value.is_integer() else value
        for name, value in message.items()
    }
    try:
        return msgspec.convert(whole, kind)
    except msgspec.ValidationError as error:
        raise refusal(kind, error, what) from None


def check_schema(kind: type[msgspec.Struct], message: dict[str, Any], what: str) -> None:
    """Refuse a message of another schema.

    Raises:
        PayloadError: with reason ``version``.
    """
    wanted = get_args(msgspec.structs.fields(kind)[0].type)[0]
    if (schema := message.get("schema")) != wanted:
        found = "missing" if schema is None else ascii(schema)[:80]
        raise PayloadError("version", f"the schema of the {what} is {found}; this version reads {wanted!r}")


def check_size(payload: bytes, what: str, most: int = MAX_BYTES) -> None:
    """Refuse a payload that is empty or larger than a control message may be.

    Raises:
        PayloadError: with reason ``empty`` or ``oversized``.
    """
    if not payload:
        raise PayloadError("empty", f"the {what} is empty")
    if len(payload) > most:
        raise PayloadError("oversized", f"the {what} has {len(payload)} bytes, the limit is {most}")


def refusal(kind: type[msgspec.Struct], error: msgspec.ValidationError, what: str) -> PayloadError:
    """Our words and reason for msgspec's."""
    text = str(error)
    found = _PATH.fullmatch(text)
    text, path = (found["what"], found["path"]) if found else (text, "")
    if missing := _MISSING.fullmatch(text):
        field = f"{path}.{missing[1]}" if path else missing[1]
        return PayloadError("missing", f"the field {field!r} of the {what} is missing")
    where = f"{path[:80]} of the {what}" if path else f"the {what}"
    if kinds := _TYPE.fullmatch(text):
        return PayloadError("type", f"{where} must be {_named(kinds['wanted'])}, got {_got(kinds['got'])}")
    if limit := _LIMIT.fullmatch(text):
        return PayloadError("range", f"{where} must be {limit['limit']}")
    if _ENUM.fullmatch(text):
        allowed = next(field.type for field in msgspec.structs.fields(kind) if field.name == path)
        return PayloadError("range", f"{where} must be {' or '.join(map(repr, map(str, allowed)))}")
    return PayloadError("range", f"{where}: {text[:100]}")


def _named(kinds: str) -> str:
    return " or ".join(_JSON_NAMES.get(kind, kind) for kind in kinds.split(" | "))


def _got(kind: str) -> str:
    return "a number with a fraction" if kind == "float" else _named(kind)
