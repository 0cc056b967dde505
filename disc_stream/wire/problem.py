"""Why a device gets no labels: retained JSON on ``<prefix>/<device>/problem``, written by the server.

An empty payload clears the topic: the problem is over. A device that reads it, or whoever looks after the
device, learns what is wrong and what to do without access to the server.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from disc_stream.errors import PayloadError
from disc_stream.types import Problem
from disc_stream.wire.limits import MAX_T0_US
from disc_stream.wire.schema import read, write

SCHEMA: Literal["disc-stream.problem/1"] = "disc-stream.problem/1"

_CODE = r"^[a-z0-9][a-z0-9-]{0,63}$"


class ProblemMessage(msgspec.Struct, frozen=True):
    """The message; ``Problem`` says what the fields mean."""

    schema: Literal["disc-stream.problem/1"]
    code: Annotated[str, msgspec.Meta(pattern=_CODE)]
    words: Annotated[str, msgspec.Meta(min_length=1, max_length=1_000)]
    since: Annotated[int, msgspec.Meta(ge=0, le=MAX_T0_US)]
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_T0_US)]
    remedy: Annotated[str, msgspec.Meta(max_length=1_000)] = ""


_DECODER = msgspec.json.Decoder(ProblemMessage)


def encode_problem(problem: Problem | None) -> bytes:
    """The problem as UTF-8 JSON; None clears the topic.

    Examples:
        >>> encode_problem(Problem("no-meta", "No description came", 1_700_000_000_000_000, 3, "Send meta"))
        b'{"schema":"disc-stream.problem/1","code":"no-meta","words":"No description came",\
"since":1700000000000000,"count":3,"remedy":"Send meta"}'
        >>> encode_problem(None)
        b''
    """
    if problem is None:
        return b""
    return write(
        ProblemMessage(SCHEMA, problem.code, problem.words, problem.since_us, problem.count, problem.remedy)
    )


def decode_problem(payload: bytes) -> Problem | None:
    """Read a problem; None where the topic was cleared.

    Raises:
        PayloadError: with a reason of the codecs; no other exception, whatever the bytes.
    """
    if not payload:
        return None
    message = read(_DECODER, payload, "problem")
    for name, text in (("words", message.words), ("remedy", message.remedy)):
        if not text.isprintable():
            raise PayloadError("text", f"{name} of the problem must be one line of printable text")
    return Problem(message.code, message.words, message.since, message.count, message.remedy)
