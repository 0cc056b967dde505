"""The C of edge/firmware: the wire's bytes, power cuts under sanitizers, and Cortex-M boards in QEMU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from disc_stream.types import Channel, SampleBatch
from disc_stream.wire.codecs import Encoding, encode_batch
from tests.support.mcu import BOARDS, FILES, GCC, QEMU, Board, missing_tools

C = Path(__file__).parents[2] / "edge" / "firmware" / "c"
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion")
SANITIZERS = ("-g", "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
FLASH, RAM = 4 << 10, 256
CORE = ("ds_packed.c", "ds_ring.c", "ds_session.c", "ds_publisher.c", "ds_ram.c")

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
needs_mcu = pytest.mark.skipif(bool(missing_tools()), reason=missing_tools())


class CBatch(ctypes.Structure):
    _fields_ = (
        ("boot", ctypes.c_uint32),
        ("seq", ctypes.c_uint32),
        ("t0_us", ctypes.c_uint64),
        ("fs", ctypes.c_float),
        ("channels", ctypes.c_uint8),
        ("type", ctypes.c_uint8),
        ("rows", ctypes.c_uint32),
        ("samples", ctypes.c_void_p),
    )


def call(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("firmware") / "packed.so"
    call("gcc", *STRICT, "-O2", "-shared", "-fPIC", str(C / "ds_packed.c"), "-o", str(path))
    found = ctypes.CDLL(str(path))
    found.ds_packed_encode.restype = ctypes.c_size_t
    found.ds_packed_encode.argtypes = (ctypes.POINTER(CBatch), ctypes.c_char_p, ctypes.c_size_t)
    return found


DTYPES = {0: np.int16, 1: np.int32, 2: np.float32}


@given(
    boot=st.integers(0, 2**32 - 1),
    seq=st.integers(0, 2**32 - 1),
    t0_us=st.integers(0, 2**63 - 1),
    fs=st.floats(0.5, 9_999, width=32),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 12)),
    kind=st.sampled_from([0, 1, 2]),
    seed=st.integers(0, 999),
)
def test_the_bytes_are_those_of_the_wire(
    library: ctypes.CDLL,
    boot: int,
    seq: int,
    t0_us: int,
    fs: float,
    shape: tuple[int, int],
    kind: int,
    seed: int,
) -> None:
    rows, n_channels = shape
    values = np.random.default_rng(seed).integers(-32_768, 32_767, size=shape).astype(DTYPES[kind])
    batch = CBatch(boot, seq, t0_us, fs, n_channels, kind, rows, values.ctypes.data)
    out = ctypes.create_string_buffer(4_096)
    size = library.ds_packed_encode(batch, out, len(out))
    channels = tuple(Channel(f"c{i}", "1") for i in range(n_channels))
    expected = encode_batch(
        SampleBatch("a", boot, seq, t0_us, fs, channels, values), Encoding.PACKED, describe_channels=False
    )
    assert out.raw[:size] == expected
    assert library.ds_packed_encode(batch, out, size - 1) == 0, "it does not fit"


@pytest.mark.parametrize("wrong", [{"channels": 0}, {"rows": 0}, {"rows": 70_000}, {"type": 3}])
def test_what_is_no_batch_is_not_encoded(library: ctypes.CDLL, wrong: dict[str, int]) -> None:
    values = np.zeros(8, dtype=np.int16)
    right = {"channels": 2, "rows": 4, "type": 0, "samples": values.ctypes.data, "fs": 50.0}
    assert library.ds_packed_encode(CBatch(**right), ctypes.create_string_buffer(99), 99) == 40
    assert library.ds_packed_encode(CBatch(**{**right, **wrong}), ctypes.create_string_buffer(99), 99) == 0


@pytest.fixture(scope="module")
def fuzzer(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("firmware") / "fuzz"
    call("gcc", *STRICT, *SANITIZERS, str(C / "test/fuzz_ring.c"), str(C / "ds_ring.c"), "-o", str(path))
    return str(path)


@pytest.mark.parametrize("seed", range(4))
def test_power_cuts_lose_and_double_nothing(fuzzer: str, seed: int) -> None:
    said = call(fuzzer, "4000", str(seed))
    assert said.startswith("4000 power cuts, ")


def test_both_rules_are_among_the_seeds(fuzzer: str) -> None:
    assert {call(fuzzer, "20", str(seed)).split()[-1] for seed in range(4)} == {"0", "1"}


@pytest.mark.parametrize(
    ("fault", "instead"),
    [
        ("if (place && !flash_write", "if (0 && !flash_write"),
        ("return check == found->check;", "return true;"),
        (": flash->sector_size; /* torn */", ": offset;"),
        ("ring->lost + tail.losses)", "ring->lost)"),
    ],
)
def test_the_fuzzer_notices_faults(tmp_path: Path, fault: str, instead: str) -> None:
    source = (C / "ds_ring.c").read_text()
    assert source.count(fault) == 1
    (tmp_path / "ds_ring.c").write_text(source.replace(fault, instead))
    program = str(tmp_path / "fuzz")
    call(
        "gcc",
        "-std=c99",
        "-O1",
        f"-I{C}",
        str(C / "test/fuzz_ring.c"),
        str(tmp_path / "ds_ring.c"),
        "-o",
        program,
    )
    runs = [
        subprocess.run([program, "3000", str(seed)], check=False, capture_output=True) for seed in range(4)
    ]
    assert any(run.returncode for run in runs)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.timeout(3_600)
def test_ten_million_power_cuts(tmp_path: Path, seed: int) -> None:
    program = str(tmp_path / "fuzz")
    call("gcc", *STRICT, "-O2", str(C / "test/fuzz_ring.c"), str(C / "ds_ring.c"), "-o", program)
    print(subprocess.run([program, "10000000", str(seed)], check=True, capture_output=True, text=True).stdout)


def host(folder: Path) -> str:
    program = str(folder / "demo")
    sources = [str(C / name) for name in ("test/demo.c", *CORE)]
    call("gcc", *STRICT, *SANITIZERS, *sources, "-o", program)
    return call(program)


def test_the_vectors_of_the_reference(tmp_path: Path) -> None:
    lines = host(tmp_path).splitlines()
    page = (Path(__file__).parents[2] / "docs/reference/wire.md").read_text().split("Packed, 48 bytes:")[1]
    wanted = "".join(page.split("```hex")[1].split("```")[0].split()).lower()
    assert lines[0] == f"packed {wanted}"
    assert lines[-1].startswith("waiting ")


@needs_mcu
@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_cortex_m_does_the_same(board: Board, tmp_path: Path) -> None:
    sources = [str(C / name) for name in ("test/demo.c", *CORE)]
    call(
        GCC, *STRICT, "-O2", *board.flags, "--specs=rdimon.specs", "-T", str(FILES / "mps2.ld"),
        str(FILES / "startup.c"), *sources, "-o", str(tmp_path / "demo.elf"),
    )  # fmt: skip
    said = call(
        QEMU, "-M", board.machine, "-nographic", "-monitor", "none", "-serial", "none",
        "-semihosting-config", "enable=on,target=native", "-kernel", str(tmp_path / "demo.elf"),
    )  # fmt: skip
    assert said.splitlines()[:-1] == host(tmp_path).splitlines()[:-1]


@needs_mcu
@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_it_is_small(board: Board, tmp_path: Path) -> None:
    total = 0
    for name in (one.removesuffix(".c") for one in CORE):
        target = str(tmp_path / f"{name}.o")
        call(GCC, *STRICT, "-Os", *board.flags, "-c", str(C / f"{name}.c"), "-o", target)
        text, data, bss = map(int, call("arm-none-eabi-size", target).splitlines()[1].split()[:3])
        assert (data, bss) == (0, 0), "all state is the caller's"
        print(f"{board.machine} {name}: {text} bytes of code")
        total += text
    assert total <= FLASH
