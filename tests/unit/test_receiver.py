"""Which descriptions go into the spool again."""

from __future__ import annotations

from pathlib import Path

from disc_stream.wire.mqtt import Message, Origin
from disc_stream_server.receiving.receiver import Receiver
from disc_stream_server.receiving.settings import ReceiverSettings
from disc_stream_server.storage.spool import SpoolReader


def test_a_description_is_stored_again_only_if_it_is_another_than_the_last(tmp_path: Path) -> None:
    settings = ReceiverSettings("mqtt://127.0.0.1:1", "ds/v1", "test", 60, 100, str(tmp_path), 2**20, 0.0)
    receiver = Receiver(settings, lambda _event: None)
    arrivals = [
        (b"A", True),  # as the broker has it when we come
        (b"A", True),  # the same after a reconnect
        (b"B", False),  # the device changes it
        (b"B", True),
        (b"A", True),  # changed back while the broker had forgotten us: nobody told us live
        (b"A", False),  # what is published live is stored, whatever it is
    ]
    for payload, retained in arrivals:
        receiver._arrive(Message("ds/v1/watch/meta", payload, "", 1, retained, 1, Origin(0, 0)))
        receiver.committer.commit()
    receiver._link.close()
    receiver.committer.close()
    reader = SpoolReader(tmp_path)
    assert [row.payload for row in reader.read(0, 10)] == [b"A", b"B", b"A", b"A"]
    reader.close()
