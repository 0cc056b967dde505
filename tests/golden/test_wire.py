"""The bytes on the wire, pinned: a device built against them must never have to change.

If one of these fails, the format has changed: give it a new version instead. The files were written by
``python -m tests.golden.test_wire``.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from disc_stream.types import Channel, DeviceMeta, Label, Problem, SampleBatch, SoftLabel
from disc_stream.wire.codecs import Encoding, decode_batch, encode_batch
from disc_stream.wire.embedding import Embeddings, decode_embeddings, encode_embeddings
from disc_stream.wire.label import decode_label, encode_label
from disc_stream.wire.meta import decode_meta, encode_meta
from disc_stream.wire.problem import decode_problem, encode_problem
from disc_stream.wire.status import (
    DeviceStatus,
    ServerStatus,
    State,
    decode_device_status,
    decode_server_status,
    encode_device_status,
    encode_server_status,
)

FOLDER = Path(__file__).parent / "wire"

COUNTS = np.array([[0, -1, 2048], [32767, -32768, 5]])
CHANNELS = (
    Channel("acc_x", "g", 0.00048828125),
    Channel("acc_y", "g", 0.00048828125),
    Channel("gyro_z", "rad/s", 0.001),
)
META = DeviceMeta(50.0, CHANNELS, placement="left wrist", model="example", firmware="1.2.3")
WALKING, SITTING = SoftLabel(2, "walking", 0.75), SoftLabel(0, "sitting", 0.25)
LABEL = Label(
    "dev", 7, 12, 30_720_000, 33_280_000, WALKING, (WALKING, SITTING), SITTING, 1.5, 0.5, "v3", 31,
    1_700_000_000_000_000,
)  # fmt: skip
PROBLEM = Problem("rate-differs", "fs is 50 Hz and 100 Hz come", 1_700_000_000_000_000, 7, "Correct fs")
EMBEDDINGS = Embeddings(
    "dev", 7, "v3", np.array([11, 70_000], dtype=np.uint32),
    np.array([[0.5, -1.25, 65_504], [6e-8, 0, -0.1]], dtype=np.float32),
)  # fmt: skip
PHYSICAL = tuple(Channel(c.name, c.unit) for c in CHANNELS)


def batch(dtype: str) -> SampleBatch:
    samples = COUNTS / 1000 if dtype == "float32" else COUNTS
    channels = PHYSICAL if dtype == "float32" else CHANNELS
    return SampleBatch("dev", 7, 4_000_000_000, 1_700_000_000_123_456, 50.0, channels, samples.astype(dtype))


KINDS = [(encoding, dtype) for encoding in Encoding for dtype in ("int16", "int32", "float32")]
EMBEDDED = "embedding.hex"
ENDINGS = {Encoding.CBOR: "hex", Encoding.PACKED: "hex", Encoding.JSON: "json"}
# file -> encoding, type of the samples, whether the message describes its channels
BATCHES = {f"{e}-{dtype}.{ENDINGS[e]}": (e, dtype, False) for e, dtype in KINDS} | {
    f"{e}-{dtype}-described.{ENDINGS[e]}": (e, dtype, True) for e, dtype in KINDS if e is not Encoding.PACKED
}
MESSAGES = {
    "meta.json": (encode_meta, decode_meta, META),
    "status-online.json": (
        encode_device_status,
        decode_device_status,
        DeviceStatus(State.ONLINE, 7, 1_700_000_000_000_000),
    ),
    "status-will.json": (encode_device_status, decode_device_status, DeviceStatus(State.OFFLINE, 7, None)),
    "label.json": (encode_label, decode_label, LABEL),
    "label-bridged.json": (
        encode_label,
        decode_label,
        msgspec.structs.replace(
            LABEL, novelty=None, t0_unix_us=1_699_999_998_000_000, bridged=True, deferred=True
        ),
    ),
    "problem.json": (encode_problem, decode_problem, PROBLEM),
    "server-status.json": (
        encode_server_status,
        decode_server_status,
        ServerStatus(State.ONLINE, 1_700_000_000_000_000, "v3", {"messages": 12, "labels": 3}),
    ),
}


def read(name: str) -> bytes:
    content = (FOLDER / name).read_text(encoding="utf-8")
    return bytes.fromhex(content) if name.endswith(".hex") else content.rstrip("\n").encode()


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_written_as_ever(name: str) -> None:
    encoding, dtype, described = BATCHES[name]
    assert encode_batch(batch(dtype), encoding, describe_channels=described) == read(name)


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_read_as_ever(name: str) -> None:
    _, dtype, described = BATCHES[name]
    wanted = batch(dtype)
    meta = None if described else DeviceMeta(50.0, wanted.channels)
    got = decode_batch(read(name), device="dev", meta=meta)
    assert (got.boot, got.seq, got.t0_us, got.fs) == (7, 4_000_000_000, 1_700_000_000_123_456, 50.0)
    assert got.channels == wanted.channels
    np.testing.assert_array_equal(got.physical(), wanted.physical())


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_written_and_read_as_ever(name: str) -> None:
    encode, decode, value = MESSAGES[name]
    assert encode(value) == read(name)  # type: ignore[operator]
    assert decode(read(name)) == value  # type: ignore[operator]


def test_embeddings_are_written_and_read_as_ever() -> None:
    assert encode_embeddings(EMBEDDINGS) == read(EMBEDDED)
    got = decode_embeddings(read(EMBEDDED), "dev")
    assert (got.device, got.boot, got.model, got.windows.tolist()) == ("dev", 7, "v3", [11, 70_000])
    np.testing.assert_array_equal(got.values, EMBEDDINGS.values.astype(np.float16))


def test_no_file_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {*BATCHES, *MESSAGES, EMBEDDED}


def _in_hex(payload: bytes) -> str:
    return payload.hex(" ", -16).replace(" ", "\n")


def _write_all() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, (encoding, dtype, described) in BATCHES.items():
        payload = encode_batch(batch(dtype), encoding, describe_channels=described)
        (FOLDER / name).write_text((_in_hex(payload) if name.endswith(".hex") else payload.decode()) + "\n")
    for name, (encode, _, value) in MESSAGES.items():
        (FOLDER / name).write_text(encode(value).decode() + "\n")  # type: ignore[operator]
    (FOLDER / EMBEDDED).write_text(_in_hex(encode_embeddings(EMBEDDINGS)) + "\n")


if __name__ == "__main__":
    _write_all()
