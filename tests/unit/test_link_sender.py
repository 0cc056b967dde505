"""Messages on their way to the broker: their ids, and how many are settled."""

from __future__ import annotations

import struct

from disc_stream.wire.delivery import FIRST_MID
from disc_stream.wire.sender import Sender


class Written:
    """What a sender writes; all packets have a topic of one letter and a payload of one byte."""

    def __init__(self) -> None:
        self.mids: list[int] = []

    def __call__(self, data: bytes) -> None:
        self.mids += [struct.unpack_from("!H", data, at + 5)[0] for at in range(0, len(data), 9)]


def test_message_ids_go_round_and_pass_over_one_that_is_on_its_way() -> None:
    """Those from ``FIRST_MID`` on, for the lower ones are paho's; 16 bits, and never 0 (MQTT 5, 2.2.1)."""
    written = Written()
    sender = Sender(written, v5=True)
    sender.up(10)
    sender.put("t", b"x", retain=False, content_type=None)
    [slow] = written.mids
    n = 65_536 - FIRST_MID
    for _ in range(n):
        sender.put("t", b"x", retain=False, content_type=None)
        sender.acknowledge([(written.mids[-1], 0)])
    assert slow == FIRST_MID
    assert written.mids[1:n] == list(range(FIRST_MID + 1, 65_536))
    assert written.mids[n] == FIRST_MID + 1, "the first is still on its way"
    assert sender.settled == 0, "and so is nothing settled"
    sender.acknowledge([(slow, 0)])
    assert sender.settled == n + 1


def test_settled_are_those_before_the_first_without_an_answer() -> None:
    written = Written()
    sender = Sender(written, v5=True)
    sender.up(2)
    sender.put_many([("t", b"1"), ("t", b"2"), ("t", b"3")], retain=False)
    assert (sender.added, sender.settled, len(written.mids)) == (3, 0, 2)
    sender.acknowledge([(written.mids[1], 0)])
    assert (sender.settled, len(written.mids)) == (0, 3), "the first has no answer, the third has room"
    sender.acknowledge([(written.mids[0], 0x87)])
    assert sender.settled == 2, "a refusal is an answer"
    assert not sender.wait(0, reconnect=False)
    sender.acknowledge([(written.mids[2], 0)])
    assert sender.settled == 3
    assert sender.wait(0, reconnect=False)
    sender.down()
    sender.put_many([("t", b"4")], retain=False)
    assert (sender.settled, sender.added) == (3, 4), "it waits for a connection"
    sender.up(2)
    sender.acknowledge([(written.mids[3], 0)])
    assert sender.settled == 4
