"""Windows of several people, for tests of methods that know who wears what."""

from __future__ import annotations

import numpy as np

from disc_stream.types import Float32Array, IntArray


def people(n_people: int = 6, seed: int = 0) -> tuple[Float32Array, IntArray, IntArray]:
    """Windows (n, 32, 3), activities and people: still one way, still another, slow and fast swinging.

    Every person wears the sensor at an angle of their own, which blurs the difference of the postures.
    """
    random = np.random.default_rng(seed)
    t = np.arange(32) / 32.0
    x, y, who = [], [], []
    for person in range(n_people):
        worn = random.normal(size=3) * 0.7
        for _ in range(2):
            for activity in random.permutation(4):
                for _ in range(12):
                    w = random.normal(size=(32, 3)) * 0.05 + worn
                    if activity < 2:
                        w[:, 0] += 2.0 * activity
                    else:
                        turns = 2 if activity == 2 else 8
                        w += np.sin(2 * np.pi * (turns * t + random.uniform()))[:, None]
                    x.append(w)
                    y.append(activity)
                    who.append(person)
    return np.array(x, dtype=np.float32), np.array(y), np.array(who)
