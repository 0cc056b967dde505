"""disc-plus in C: descriptors of a window and their linear map, with the arrays of the bundle's graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from disc_stream.artifacts.bundle import Bundle
from disc_stream.artifacts.graph import Constant, read_graph
from disc_stream.errors import BundleError
from disc_stream.models.descriptors import FARTHEST_EMBEDDING, FARTHEST_SAMPLE
from disc_stream.types import Float32Array
from disc_stream_export.c.literals import matrix, real, reals, wrapped
from disc_stream_export.c.parts import EncoderParts, template

# The floors of models/descriptors.py; the comparison with the graph would show another one.
TINY_VARIANCE = 1e-8
TINY_POWER = 1e-6
TINY_DEVIATION = 1e-4

_SMALLEST_FFT = 8


@dataclass(frozen=True, slots=True)
class DescriptorArrays:
    """What a descriptor network consists of; T samples, C channels, F descriptors, D dimensions.

    Args:
        n_samples: T.
        scale: (C,) float32.
        offset: (C,) float32, what levels are told from.
        axes: channels of one sensor, of whose axes magnitudes are taken; 0 for none.
        band_edges: (bands + 1,) first frequency of each band, and one after the last.
        project: (F, D) float32, from descriptors to the embedding.
        shift: (D,) float32.
    """

    n_samples: int
    scale: Float32Array
    offset: Float32Array
    axes: int
    band_edges: tuple[int, ...]
    project: Float32Array
    shift: Float32Array

    @property
    def n_sensors(self) -> int:
        """How many magnitudes there are."""
        return len(self.scale) // self.axes if self.axes else 0

    @classmethod
    def of(cls, bundle: Bundle) -> DescriptorArrays:
        """Those of a bundle's graph.

        Raises:
            BundleError: if an array is missing, or they do not go together.
        """
        found = _floats(read_graph(bundle.model_bytes).constants)
        n_samples, n_channels = bundle.manifest.window.input_samples, len(bundle.manifest.channels)
        if missing := {"descriptors.offset", "project", "shift"} - set(found):
            raise _foreign(bundle, f"has no tensor {min(missing)!r}")
        scale, offset = found["descriptors.scale"], found["descriptors.offset"]
        project, shift = found["project"], found["shift"]
        edges = _band_edges(found.values(), n_samples // 2)
        if edges is None:
            raise _foreign(bundle, "has no tensor that divides frequencies into bands")
        if not scale.shape == offset.shape == (n_channels,):
            raise _foreign(bundle, "has a scale or an offset of another shape")
        n_sensors, rest = divmod(
            len(project) - n_channels * (n_channels - 1) // 2 - n_channels * (len(edges) + 1), len(edges) + 1
        )
        if rest or n_sensors < 0 or (n_sensors and n_channels % n_sensors):
            raise _foreign(bundle, f"has {len(project)} descriptors, which fit no number of sensors")
        axes = n_channels // n_sensors if n_sensors else 0
        return cls(n_samples, scale, offset, axes, edges, project, shift)


def _foreign(bundle: Bundle, what: str) -> BundleError:
    return BundleError(
        f"the graph of bundle {str(bundle.path)!r} {what}, so it cannot be written as C",
        remedy="Export its run again with this version",
    )


def _floats(constants: dict[str, Constant]) -> dict[str, Float32Array]:
    return {
        name: np.frombuffer(constant.floats, dtype="<f4").astype(np.float32).reshape(constant.shape)
        for name, constant in constants.items()
        if constant.floats is not None
    }


def _band_edges(found: Iterable[Float32Array], n_frequencies: int) -> tuple[int, ...] | None:
    """Of the tensor that says which frequency, from 1 on, lies in which band: of cosines, then of sines."""
    for array in found:
        if array.ndim != 2 or 2 * n_frequencies not in array.shape:
            continue
        bands = array if array.shape[1] == 2 * n_frequencies else array.T
        of_cosines, of_sines = np.split(bands, 2, axis=1)
        if np.isin(bands, (0.0, 1.0)).all() and np.array_equal(of_cosines, of_sines):
            return _edges(of_cosines)
    return None


def _edges(bands: npt.NDArray[np.float32]) -> tuple[int, ...] | None:
    """(bands, frequencies from 1 on) of 0 and 1 -> borders, if the bands are intervals that join."""
    inside = [np.flatnonzero(row) for row in bands]
    if not all(len(part) and len(part) == part[-1] - part[0] + 1 for part in inside):
        return None
    if any(after[0] != before[-1] + 1 for before, after in pairwise(inside)):
        return None
    return (*(int(part[0]) + 1 for part in inside), int(inside[-1][-1]) + 2)


class DescriptorKind:
    """See ``Kind``."""

    name = "disc-plus"

    def fits(self, bundle: Bundle) -> bool:
        """Whether the graph begins with descriptors."""
        return "descriptors.scale" in read_graph(bundle.model_bytes).constants

    def parts(self, bundle: Bundle) -> EncoderParts:
        """The descriptors and their map; see ``Kind``."""
        arrays = DescriptorArrays.of(bundle)
        fast = arrays.n_samples >= _SMALLEST_FFT and arrays.n_samples & (arrays.n_samples - 1) == 0
        spectrum = template("fft.c" if fast else "dft.c")
        return EncoderParts(
            tables=_tables(arrays, arrays.n_samples // 2 if fast else arrays.n_samples),
            code=template("descriptors.c").replace("@SPECTRUM@", spectrum),
            types=_TYPES,
            scratch=_SCRATCH,
        )


_TYPES = """\
typedef struct {
    float mean; /* of a channel, less its first sample */
    float variance;
} disc_moments;
"""

_SCRATCH = """\
    float moved[DISC_INPUT], path[DISC_INPUT]; /* one signal at a time */
    disc_moments moments[DISC_CHANNELS];"""


def _tables(arrays: DescriptorArrays, n_angles: int) -> str:
    """Constants of the encoder.

    Args:
        arrays: the model.
        n_angles: entries of the tables of cosines and sines, whose circle has T steps.
    """
    angle = 2.0 * np.pi * np.arange(n_angles) / arrays.n_samples
    return f"""\
#define DISC_AXES {arrays.axes}u    /* channels of a sensor, of which magnitudes are taken */
#define DISC_SENSORS {arrays.n_sensors}u
#define DISC_BANDS {len(arrays.band_edges) - 1}u
#define DISC_DESCRIPTORS {len(arrays.project)}u

/* Floors, in units of a normalised channel. */
#define DISC_TINY_VARIANCE {real(TINY_VARIANCE)}
#define DISC_TINY_POWER {real(TINY_POWER)}
#define DISC_TINY_DEVIATION {real(TINY_DEVIATION)}

/* Clipping limits: of normalised samples and their differences, and of the embedding. */
#define DISC_FARTHEST_SAMPLE {real(FARTHEST_SAMPLE)}
#define DISC_FARTHEST_EMBEDDING {real(FARTHEST_EMBEDDING)}

/* From physical units to normalised samples, and the means in training, in physical units. */
static const float disc_scale[DISC_CHANNELS] = {{
{reals(arrays.scale)}
}};
static const float disc_offset[DISC_CHANNELS] = {{
{reals(arrays.offset)}
}};

/* First frequency of each band, and one after the last; frequency k is k / {arrays.n_samples} of the rate. */
static const uint16_t disc_band_edges[DISC_BANDS + 1u] = {{
{wrapped(map(str, arrays.band_edges))}
}};

/* Hann's window. */
static const float disc_taper[DISC_INPUT] = {{
{reals(np.hanning(arrays.n_samples))}
}};

/* Of n / {arrays.n_samples} of a circle. */
static const float disc_cosine[{n_angles}] = {{
{reals(np.cos(angle))}
}};
static const float disc_sine[{n_angles}] = {{
{reals(np.sin(angle))}
}};

/* The linear map from descriptors to the embedding. Descriptors are, of all channels and then of all
 * magnitudes: the levels, the logarithms of the variances, the logarithms of the powers in the bands of
 * each; and the correlations of channels 0 and 1, 0 and 2, and so on. */
static const float disc_map[DISC_DESCRIPTORS][DISC_EMBEDDING] = {{
{matrix(arrays.project)}
}};

static const float disc_shift[DISC_EMBEDDING] = {{
{reals(arrays.shift)}
}};"""


DESCRIPTORS = DescriptorKind()
