"""Coverage-guided fuzzing of everything that reads bytes from strangers; see ``make fuzz``.

    python tests/fuzz/fuzz_codecs.py cbor -max_total_time=60

The first argument names the reader; the others are libFuzzer's. The corpus starts from the hostile and good
payloads of ``tests/support/hostile.py``, kept in ``build/fuzz/<reader>``. Whatever a reader raises but its
typed error ends the run with the input that did it.
"""

from __future__ import annotations

import hashlib
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import atheris
import cbor2

with atheris.instrument_imports(include=["disc_stream.wire"]):
    from disc_stream.wire.activity import decode_activity
    from disc_stream.wire.codecs import CONTENT_TYPES, REASONS, Encoding, decode_batch, encode_batch
    from disc_stream.wire.embedding import decode_embeddings, encode_embeddings
    from disc_stream.wire.event import decode_event
    from disc_stream.wire.label import decode_label, encode_label
    from disc_stream.wire.meta import decode_meta
    from disc_stream.wire.problem import decode_problem
    from disc_stream.wire.servermodel import decode_model
    from disc_stream.wire.status import decode_device_status, decode_server_status

from disc_stream.errors import PayloadError
from tests.support.hostile import (
    META,
    good_batch,
    hostile_embeddings,
    hostile_labels,
    hostile_metas,
    hostile_payloads,
)

CORPUS = Path("build/fuzz")


def _batch_of(encoding: Encoding) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        batch = decode_batch(data, device="watch", content_type=CONTENT_TYPES[encoding], meta=META)
        again = decode_batch(encode_batch(batch, Encoding.CBOR, describe_channels=True), device="watch")
        if again.samples.tobytes() != batch.samples.tobytes():
            raise AssertionError("a batch that was taken does not come back as it was")
        if encoding is Encoding.CBOR and b"x-" not in data:  # what is passed over need not be valid
            header = cbor2.loads(data)
            if [header[name] for name in ("boot", "seq", "t0", "fs")] != [
                batch.boot, batch.seq, batch.t0_us, batch.fs,
            ]:  # fmt: skip
                raise AssertionError("a library reads another batch")

    return read


def _label(data: bytes) -> None:
    rounded = decode_label(encode_label(decode_label(data)))
    if decode_label(encode_label(rounded)) != rounded:
        raise AssertionError("a label that was taken does not come back as it was")


def _embedding(data: bytes) -> None:
    found = decode_embeddings(data, "watch")
    again = decode_embeddings(encode_embeddings(found), "watch")
    if again.values.tobytes() != found.values.tobytes() or again.windows.tobytes() != found.windows.tobytes():
        raise AssertionError("embeddings that were taken do not come back as they were")


READERS: dict[str, Callable[[bytes], object]] = {
    **{encoding.value: _batch_of(encoding) for encoding in Encoding},
    "meta": decode_meta,
    "label": _label,
    "problem": decode_problem,
    "device-status": decode_device_status,
    "server-status": decode_server_status,
    "activity": decode_activity,
    "embedding": _embedding,
    "event": decode_event,
    "model": decode_model,
}


def _write_seeds(name: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if name in set(Encoding):
        good = [
            encode_batch(good_batch(n, n=n + 1, dtype=dtype), Encoding(name), describe_channels=described)
            for n in range(4)
            for dtype in ("int16", "float32")
            for described in (False, True)
        ]
        seeds = [*good, *(payload for _, payload in hostile_payloads()[::5] if len(payload) < 4096)]
    else:
        others = {"label": hostile_labels, "embedding": hostile_embeddings}
        corpus = others.get(name, hostile_metas)()
        seeds = [payload for payload in corpus[::3] if len(payload) < 4096]
    for seed in seeds:
        (folder / hashlib.sha1(seed, usedforsecurity=False).hexdigest()).write_bytes(seed)


def main() -> None:
    """Fuzz one reader."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in READERS:
        sys.exit(f"usage: fuzz_codecs.py {'|'.join(READERS)} [libFuzzer options]")
    read, folder = READERS[name], CORPUS / name
    _write_seeds(name, folder)
    runs = 0

    def one_input(data: bytes) -> None:
        nonlocal runs
        runs += 1
        try:
            read(data)
        except PayloadError as error:
            if error.reason not in REASONS and error.reason != "label":
                raise AssertionError(f"an unknown reason: {error.reason}") from error
        if runs in {20_000, 100_000, 500_000}:
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print(f"after {runs} inputs the largest memory was {peak / 1024:.0f} MiB", file=sys.stderr)

    atheris.Setup([sys.argv[0], *sys.argv[2:], str(folder)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
