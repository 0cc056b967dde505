"""From a run or a bundle to C source on disk, which has labelled windows as the graph does."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.catalogue import Catalogue
from disc_stream.artifacts.run import CHECKPOINT_DIR, RUN_FILE, SAMPLES_FILE
from disc_stream.artifacts.runtime import OnnxEncoder
from disc_stream.artifacts.selftest import synthetic_windows
from disc_stream.errors import ConfigError, UsageError
from disc_stream.training.files import replace_file
from disc_stream.types import Float32Array
from disc_stream_export.c.comparing import CParity, compare
from disc_stream_export.c.compiling import Labelled, find_compiler, run_source
from disc_stream_export.c.source import CSource, SourceNames, Tests
from disc_stream_export.exporter import Choices, export_run
from disc_stream_export.probes import probes

Progress = Callable[[str], None]

_MARK = "Made by disc-stream"
_HEAD_BYTES = 1000  # of a file, in which the mark stands
_SYNTHETIC = 64
_TESTS = 8


@dataclass(frozen=True, slots=True)
class COptions:
    """How a model becomes C source.

    Args:
        choices: of a run's model and clusters; a bundle has a name, and its clusters can be renamed.
        prefix: of all names that the source defines.
        with_test: also write ``STEM_test.c``, a program for the device.
        unchecked: write without compiling and comparing.
        force: replace older source of ours.
    """

    choices: Choices = field(default_factory=Choices)
    prefix: str = "disc"
    with_test: bool = False
    unchecked: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class CExport:
    """What was written.

    Args:
        files: in the order of their importance.
        bundle: the model.
        compiler: that the comparison was done with, "" without one.
        real: comparison on windows of the run; None without a run, or unchecked.
        synthetic: on windows at the limits of what sensors give; None if unchecked.
        state_bytes: memory for the state of one device; None if unchecked.
    """

    files: tuple[Path, ...]
    bundle: Bundle
    compiler: str
    real: CParity | None
    synthetic: CParity | None
    state_bytes: int | None


def export_c(
    source: Path | str, out: Path | str, options: COptions = COptions(), progress: Progress | None = None
) -> CExport:
    """Write a model as one C99 file with its header.

    Unless it is switched off, the source is compiled on this machine and must label the windows that the
    run has kept, and synthetic ones, as the graph does in onnxruntime; otherwise nothing is written.

    Args:
        source: folder of a run, or a bundle.
        out: ``NAME.c``; the header goes beside it.
        options: see there.
        progress: called with what is about to be done.

    Raises:
        UsageError: if ``source`` is missing, a file is taken, a name is not usable, there is no compiler, or
            there is no C for this kind of model.
        BundleError: if the bundle is broken or older than this.
        TrainingError: if the run is unfinished, damaged or from a newer version.
        ParityError: if the source does not label as the graph does.
    """
    source, out = Path(source), Path(out)
    tell = progress or (lambda _step: None)
    files = _files(out, with_test=options.with_test)
    names = SourceNames(out.stem, options.prefix)
    _check_targets(files, force=options.force)
    compiler = [] if options.unchecked else find_compiler()
    if options.unchecked and options.with_test:
        raise ConfigError(
            "a self-test holds what the comparison found, and that is left out",
            remedy="Leave out --with-test or --unchecked",
        )
    tell("Reading the model")
    bundle, samples = _read(source, options.choices)
    code = CSource(bundle, names)
    texts = [code.model(), code.header()]
    real = synthetic = state_bytes = None
    if compiler:
        tell("Comparing with onnxruntime")
        check = _Check(bundle, code, names, compiler)
        shown = _synthetic(bundle) if samples is None else samples
        labelled = check.label(shown)
        state_bytes = labelled.state_bytes
        real = None if samples is None else check.compare(samples, labelled)
        synthetic = check.synthetic(shown)
        if options.with_test:
            texts.append(code.selftest(_tests(shown, labelled)))
    tell("Writing")
    _write(files, texts)
    return CExport(files, bundle, " ".join(compiler), real, synthetic, state_bytes)


class _Check:
    """Compares source with its bundle's graph."""

    def __init__(self, bundle: Bundle, code: CSource, names: SourceNames, compiler: list[str]) -> None:
        self._bundle, self._compiler = bundle, compiler
        self._encoder = OnnxEncoder(bundle, "cpu")
        self._texts = {
            f"{names.stem}.c": code.model(),
            names.header: code.header(),
            f"{names.stem}_driver.c": code.driver(),
        }

    def label(self, windows: Float32Array) -> Labelled:
        """By the exported code."""
        return run_source(self._texts, windows, self._compiler)

    def compare(self, windows: Float32Array, labelled: Labelled) -> CParity:
        """With the graph, on ordinary windows."""
        return compare(self._bundle, self._encoder.encode(windows), labelled)

    def synthetic(self, samples: Float32Array) -> CParity:
        """On windows that sensors give when they rest, break or saturate, and on one with NaN."""
        broken = samples[:1].copy()
        broken[0, -1, -1] = np.nan
        windows = np.concatenate([broken, *(probe.windows for probe in probes(samples))])
        return compare(self._bundle, self._encoder.encode(windows), self.label(windows), strict=False)


def _tests(samples: Float32Array, labelled: Labelled) -> Tests:
    """Windows of as many different labels as there are."""
    _, first = np.unique(labelled.label, return_index=True)
    chosen = np.sort(first)[:_TESTS]
    bits = labelled.distance_bits
    return Tests(samples[chosen], labelled.label[chosen].tolist(), [bits[at] for at in chosen])


def _read(source: Path, choices: Choices) -> tuple[Bundle, Float32Array | None]:
    """The model, and the windows that its run has kept."""
    if source.is_dir() and ((source / RUN_FILE).is_file() or (source / CHECKPOINT_DIR).is_dir()):
        with tempfile.TemporaryDirectory(prefix="disc-stream-c-") as folder:
            export_run(source, Path(folder) / "bundle", choices=choices)
            bundle = Bundle.open(Path(folder) / "bundle")
        return replace(bundle, path=source), load_file(source / SAMPLES_FILE)["x"]
    bundle = Bundle.open(source)
    if choices.model is not None:
        raise ConfigError(
            f"the model of a bundle has its name, {bundle.manifest.name!r}",
            remedy="Leave out --name, or export the run",
        )
    catalogue: Catalogue = bundle.catalogue.renamed(choices.clusters)
    return replace(bundle, catalogue=catalogue), None


def _synthetic(bundle: Bundle) -> Float32Array:
    """Windows like those of training, as far as a bundle's scaler tells, in place of a run's windows."""
    manifest = bundle.manifest
    level, scale = (
        np.array(values, dtype=np.float32) for values in (manifest.scaler.offset, manifest.scaler.scale)
    )
    shape = (manifest.window.input_samples, len(scale))
    return synthetic_windows(_SYNTHETIC, shape, level, np.float32(1.0) / scale)


def _files(out: Path, *, with_test: bool) -> tuple[Path, ...]:
    if out.suffix != ".c":
        raise UsageError(f"{str(out)!r} does not end with .c", remedy="Name a file such as activity.c")
    test = (out.with_name(f"{out.stem}_test.c"),) if with_test else ()
    return (out, out.with_suffix(".h"), *test)


def _check_targets(files: tuple[Path, ...], *, force: bool) -> None:
    for file in files:
        if not file.exists():
            continue
        if not force:
            raise UsageError(f"{str(file)!r} exists already", remedy="Name another file, or use --force")
        if not file.is_file() or _MARK.encode() not in file.read_bytes()[:_HEAD_BYTES]:
            raise UsageError(
                f"{str(file)!r} was not made by disc-stream and is not replaced", remedy="Name another file"
            )


def _write(files: tuple[Path, ...], texts: list[str]) -> None:
    try:
        files[0].parent.mkdir(parents=True, exist_ok=True)
        for file, text in zip(files, texts, strict=True):
            replace_file(file, text.encode("ascii"))
    except OSError as error:
        raise UsageError(
            f"the source cannot be written to {str(files[0])!r}: {error.strerror or error}",
            remedy="Check space and permissions there, or choose another --out",
        ) from error
