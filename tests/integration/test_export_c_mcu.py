"""Exported C on Cortex-M boards in QEMU, and on every test window of UCI HAR."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.data.readers import load_split
from disc_stream.training.session import TrainingRequest, train_run
from disc_stream.types import Float32Array
from disc_stream_export import export_run
from disc_stream_export.c.comparing import compare
from disc_stream_export.c.compiling import Labelled, run_source
from disc_stream_export.probes import probes
from tests.support.cmodel import Shape, moving, source_files, write_descriptor_bundle, write_files
from tests.support.mcu import BOARDS, INSTRUCTIONS_PER_TICK, M4, Board, missing_tools, run_on, sizes
from tests.support.plus_run import QUICK

MAX_FLASH = 32 << 10
MAX_RAM = 8 << 10

needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
needs_mcu = pytest.mark.skipif(bool(missing_tools()), reason=missing_tools())


def assert_same_bits(one: Labelled, other: Labelled) -> None:
    for name in ("label", "smoothed", "distance", "novelty", "smoothed_confidence", "q"):
        got, wanted = (np.ascontiguousarray(getattr(part, name)) for part in (one, other))
        assert got.tobytes() == wanted.tobytes(), name


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_descriptor_bundle(tmp_path_factory.mktemp("mcu") / "bundle", Shape(), unknown_above=20.0)


@needs_gcc
@needs_mcu
@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
def test_a_cortex_m_computes_the_same_bits(board: Board, small: Bundle, tmp_path: Path) -> None:
    """With and without a floating-point unit, on windows of every kind, within the memory promised."""
    real = moving(24, Shape())
    broken = real[:1].copy()
    broken[0, 60, 2] = np.nan
    windows = np.concatenate([real, broken, *(probe.windows[:6] for probe in probes(real))])
    files = source_files(small)
    folder = write_files(tmp_path / "c", files)
    got = run_on(board, folder, windows, "-O2", count=True)
    assert_same_bits(got, run_source(files, windows, ["gcc"]))
    assert got.state_bytes <= MAX_RAM
    instructions = int(np.median(got.ticks)) * INSTRUCTIONS_PER_TICK
    assert 1e4 < instructions < (1e6 if board.has_fpu else 1e7)
    for option in ("-Os", "-O2"):
        taken = sizes(folder, "model.c", board, option)
        assert taken.text <= MAX_FLASH
        assert (taken.data, taken.bss) == (0, 0)
        # For `make mcu`, which shows what tests print.
        print(f"\n{board.machine} {option}: flash {taken.text:,}, RAM {got.state_bytes:,} bytes", end="")
    print(f"; {instructions:,} instructions per window")


@pytest.fixture(scope="module")
def uci_har(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Float32Array]:
    """disc-plus of UCI HAR, from few candidates, and the windows of its nine test people."""
    folder = tmp_path_factory.mktemp("uci-har")
    split = load_split("uci-har", real_data)
    train_run(split, TrainingRequest("uci-har", folder / "run", method="disc-plus", settings=QUICK))
    export_run(folder / "run", folder / "bundle")
    return Bundle.open(folder / "bundle"), split.test.x


@needs_gcc
@pytest.mark.real_data
def test_every_test_window_of_uci_har_has_the_label_of_onnxruntime(
    uci_har: tuple[Bundle, Float32Array], tmp_path: Path
) -> None:
    """On this machine and, where the tools are, on a Cortex-M4 in QEMU."""
    bundle, windows = uci_har
    assert len(windows) == 2947
    encoded = OnnxEncoder(bundle, "cpu").encode(windows)
    files = source_files(bundle)
    host = run_source(files, windows, ["gcc"])
    assert compare(bundle, encoded, host).labels_equal == 1.0
    assert (host.q.argmax(axis=1) == encoded.labels).all()
    if not missing_tools():
        folder = write_files(tmp_path / "c", files)
        assert_same_bits(run_on(M4, folder, windows, "-O2"), host)
        assert sizes(folder, "model.c", M4, "-O2").text <= MAX_FLASH
    assert host.state_bytes <= MAX_RAM
