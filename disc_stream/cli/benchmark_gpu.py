"""``disc-stream benchmark gpu``."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from disc_stream.cli.common import JsonOption, print_json, require_extras, require_writable, say
from disc_stream.cli.spinner import spinner

if TYPE_CHECKING:
    from disc_stream.benchmarks.encode import Subject


def gpu(
    time_limit: Annotated[
        float, typer.Option(min=1.0, help="Seconds, after which it ends; what is done is kept.")
    ] = 480.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="JSON file, written after every step; the same command resumes."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Everything about a machine with a GPU, once, within minutes: training, parity, encoding, memory.

    Windows per second of DISC's presets in bf16 and TF32, CUDA against the processor,
    encoding by torch and by every runtime at hand. Needs no data. Without a GPU it measures
    the processor and says what it skipped.

    Example: disc-stream benchmark gpu --time-limit 480 --out gpu.json
    """
    require_extras("disc-stream benchmark gpu", "train", "export")
    from disc_stream.benchmarks.accelerator import SCHEMA, machine, steps
    from disc_stream.benchmarks.partial import Report

    if out is not None:
        require_writable(out)
    with tempfile.TemporaryDirectory(prefix="disc-stream-gpu-") as place, spinner() as tell:
        report = Report(out, SCHEMA, machine()).run(steps(_maker(Path(place))), time_limit, tell)
    if as_json:
        print_json(report)
    else:
        _print(report)


def _maker(folder: Path) -> Any:
    from disc_stream.load.publisher import CHANNELS
    from disc_stream.load.untrained import untrained

    @cache
    def make(name: str) -> Subject:
        return untrained(name, folder / name, CHANNELS)

    return make


def _print(report: dict[str, Any]) -> None:
    gpu_name = report["gpu"] or "no GPU"
    say(f"{gpu_name}; {report['cpu']}, {report['cpus']} processors; torch {report['torch']}")
    peaks = report["steps"].get("peaks", {}).get("gflop_per_s", {})
    say(", ".join(f"{name} {rate:,.0f}" for name, rate in peaks.items()) + " GFLOP/s in large products")
    for name, step in report["steps"].items():
        if name.startswith("train "):
            say(f"{name:<30}{_trained(step, peaks)}")
        elif name == "parity":
            for way, one in step["cuda"].items():
                equal = f"{one['labels_equal']:.2%} of labels equal"
                say(f"CUDA {way:<25}{equal}, q within {one['max_abs_q']:.1e}")
        for row in step.get("rows", ()):
            what = f"{name} {row['runtime'] if 'runtime' in row else row['precision']}"
            say(f"{what:<40}{row['batch']:>6} at once {row['windows_per_s']:>14,.0f} windows/s")
    for name, why in report["skipped"].items():
        say(f"skipped {name}: {why}")


def _trained(step: dict[str, Any], peaks: dict[str, float]) -> str:
    words = f"{step['windows_per_s']:>10,.1f} windows/s, {step['peak_memory_mib']:,.0f} MiB"
    peak = peaks.get(f"{step['device']} {step['precision']}")
    if peak and "gflop_per_s" in step:
        words += f", {step['gflop_per_s'] / peak:.0%} of the peak"
    return words
