"""Who does what when: a semi-Markov chain over activities, with smooth passages between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from disc_stream.data.synthetic.movements import COLUMN, Activity, Movement
from disc_stream.data.synthetic.person import Person

Floats = npt.NDArray[np.float64]

PASSAGE_S = 2.0  # from one activity into the next; the label changes half way

_A = Activity
# What comes next; people stand up before they walk and stop before they sit.
_NEXT: dict[Activity, dict[Activity, float]] = {
    _A.WALKING: {
        _A.STANDING: 0.3,
        _A.STAIRS_UP: 0.22,
        _A.STAIRS_DOWN: 0.22,
        _A.RUNNING: 0.16,
        _A.SITTING: 0.1,
    },
    _A.STAIRS_UP: {_A.WALKING: 0.7, _A.STANDING: 0.15, _A.STAIRS_DOWN: 0.15},
    _A.STAIRS_DOWN: {_A.WALKING: 0.7, _A.STANDING: 0.15, _A.STAIRS_UP: 0.15},
    _A.RUNNING: {_A.WALKING: 0.75, _A.STANDING: 0.25},
    _A.CYCLING: {_A.STANDING: 0.6, _A.WALKING: 0.4},
    _A.SITTING: {_A.STANDING: 0.35, _A.WALKING: 0.25, _A.LYING: 0.4},
    _A.STANDING: {_A.WALKING: 0.4, _A.CYCLING: 0.3, _A.SITTING: 0.3},
    _A.LYING: {_A.SITTING: 0.75, _A.STANDING: 0.25},
}
_MEAN_DWELL_S = {
    _A.WALKING: 24.0, _A.STAIRS_UP: 22.0, _A.STAIRS_DOWN: 22.0, _A.RUNNING: 32.0,
    _A.CYCLING: 40.0, _A.SITTING: 32.0, _A.STANDING: 20.0, _A.LYING: 45.0,
}  # fmt: skip
_MIN_DWELL_S = 3 * PASSAGE_S
# On the back, on either side, prone: pitch and roll in degrees added to the movement's own.
_LYING = (((0.0, 0.0), 0.6), ((88.0, -88.0), 0.15), ((88.0, 88.0), 0.15), ((174.0, 0.0), 0.1))


@dataclass(frozen=True, slots=True)
class Bout:
    """One stretch of one activity.

    Args:
        activity: what is done.
        movement: (n_columns,) the movement as this person does it this time.
        samples: length, including the passage into it.
    """

    activity: Activity
    movement: Floats
    samples: int


class Schedule:
    """The movement and the label of every sample, in blocks.

    Args:
        rng: source of randomness, used for nothing else.
        person: who moves.
        movements: the placement's table; an activity that is not in it is never done.
        fs: samples per second.
        dwell: factor on how long activities last.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        person: Person,
        movements: dict[Activity, Movement],
        fs: float,
        dwell: float,
    ) -> None:
        self._rng, self._person, self._movements = rng, person, movements
        self._fs, self._dwell = fs, dwell
        self._wanted: Activity | None = None
        self._passage = max(1, round(PASSAGE_S * fs))
        done = list(movements)
        self._bout = self._draw_bout(done[int(rng.integers(len(done)))])
        self._before = self._bout
        self._position = self._passage  # the first bout has no passage into it

    def start(self, activity: Activity, movement: Movement) -> None:
        """Go over to this activity soon, and do it now and then from there on; from any thread."""
        self._movements = {**self._movements, activity: movement}
        self._wanted = activity

    def block(self, n: int) -> tuple[Floats, npt.NDArray[np.int16]]:
        """The next ``n`` samples: (n, n_columns) of movement and (n,) of labels."""
        movement = np.empty((n, len(COLUMN)))
        labels = np.empty(n, dtype=np.int16)
        done = 0
        while done < n:
            if self._position >= (self._bout.samples if self._wanted is None else self._passage):
                self._before, self._bout = self._bout, self._draw_bout(self._draw_next())
                self._position = 0
            step = min(n - done, self._bout.samples - self._position)
            index = self._position + np.arange(step)
            weight = _ease((index + 1) / self._passage)[:, None]
            movement[done : done + step] = (
                self._before.movement + (self._bout.movement - self._before.movement) * weight
            )
            labels[done : done + step] = np.where(
                index * 2 < self._passage, self._before.activity, self._bout.activity
            )
            self._position += step
            done += step
        return movement, labels

    def _draw_next(self) -> Activity:
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            return wanted
        options = {one: p for one, p in _NEXT[self._bout.activity].items() if one in self._movements}
        weights = np.array(list(options.values()))
        return list(options)[int(self._rng.choice(len(options), p=weights / weights.sum()))]

    def _draw_bout(self, activity: Activity) -> Bout:
        """A bout of random length and posture, as this person would do it."""
        rng, person = self._rng, self._person
        movement = self._movements[activity].vector()
        spread = movement[COLUMN["spread"]]
        lean = 0.7 * person.lean[activity] + 0.7 * rng.standard_normal(2)
        movement[COLUMN["pitch"]] += spread * lean[0]
        movement[COLUMN["roll"]] += spread * lean[1] * 0.6
        if activity is Activity.LYING:
            side = int(rng.choice(len(_LYING), p=[weight for _, weight in _LYING]))
            (pitch, roll), _ = _LYING[side]
            movement[COLUMN["pitch"]] += pitch
            movement[COLUMN["roll"]] += roll
        movement[COLUMN["cadence"]] *= person.tempo * np.clip(rng.normal(1.0, 0.04), 0.9, 1.1)
        for name in ("up", "up_second", "forward", "side", "impact"):
            movement[COLUMN[name]] *= person.vigour * np.clip(rng.normal(1.0, 0.08), 0.8, 1.2)
        for name in ("swing_pitch", "swing_roll", "swing_yaw", "step_pitch", "step_roll", "step_yaw"):
            movement[COLUMN[name]] *= person.swing * np.clip(rng.normal(1.0, 0.06), 0.85, 1.15)
        movement[COLUMN["limp"]] *= person.asymmetry
        mean = _MEAN_DWELL_S[activity] * self._dwell
        seconds = max(_MIN_DWELL_S, mean * float(rng.gamma(4.0, 0.25)))
        return Bout(activity, movement, round(seconds * self._fs))


def _ease(x: Floats) -> Floats:
    """0 to 1 with zero first and second derivatives at both ends: minimum jerk (Flash & Hogan 1985)."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)
