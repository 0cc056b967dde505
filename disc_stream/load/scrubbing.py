"""``disc-stream benchmark scrub``: how smoothly the strip of a day follows the mouse, in a real Chromium.

A device's month lies in the store of a server. The browser opens its page, and the mouse, by events of the
browser's own, drags the strip to and fro across its whole width. What counts is the time from one frame of
the browser to the next while it is dragged, and whether each shows another picture.
"""

from __future__ import annotations

import tempfile
import time
import urllib.request
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from disc_stream.errors import UsageError
from disc_stream.load.chromium import Chromium, find_chromium
from disc_stream.load.pasts import BEGIN_US, DAY_US, HistoryPlan, device_of, make_past
from disc_stream.load.plan import WINDOW, Load
from disc_stream.load.processes import broker_of
from disc_stream.load.publisher import CHANNELS
from disc_stream.load.scene import wait_for
from disc_stream.load.server import Server
from disc_stream.load.trivial import write_trivial_bundle
from disc_stream.types import DeviceMeta
from disc_stream.wire.broker import Broker
from disc_stream.wire.meta import encode_meta
from disc_stream.wire.mqtt import MqttLink
from disc_stream.wire.topics import Kind, Topics

SCHEMA = "disc-stream.benchmark.scrub/1"
Say = Callable[[str], None]

# Frames, and when the picture was drawn anew in one: each drawing begins by setting the transform.
_WATCH = """(() => {
  const seen = window.scrub = { frames: [], drawn: [], took: [] };
  let drawn = 0, last = 0, took = 0;
  const g = CanvasRenderingContext2D.prototype, set = g.setTransform;
  g.setTransform = function (...values) {
    drawn += 1;
    return set.apply(this, values);
  };
  const wrapped = window.requestAnimationFrame;
  window.requestAnimationFrame = (act) => wrapped((time) => {
    const begun = performance.now();
    act(time);
    took += performance.now() - begun;
  });
  const frame = (time) => {
    if (last && window.dragging) {
      seen.frames.push(time - last);
      seen.drawn.push(drawn);
      seen.took.push(took);
    }
    last = time;
    drawn = took = 0;
    wrapped(frame);
  };
  wrapped(frame);
})()"""
_FASTEST_HZ = 120.0  # moves of the mouse; more often than any frame


@dataclass(frozen=True, slots=True)
class ScrubPlan:
    """What is dragged.

    Args:
        days: of the device that are stored.
        episodes: of a day.
        shown_days: on the strip at once.
        drags: to and fro.
        seconds: of each.
    """

    days: int = 30
    episodes: int = 500
    shown_days: float = 1.0
    drags: int = 6
    seconds: float = 2.0


def run(plan: ScrubPlan, broker: str | None, say: Say) -> dict[str, Any]:
    """Drag it.

    Raises:
        UsageError: if there is no Chromium.
        BrokerError: if a process does not start, or ends.
    """
    program = find_chromium()
    if program is None:
        raise UsageError("Chromium is not installed", remedy="On Debian: apt-get install chromium")
    with ExitStack() as stack:
        folder = Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix="disc-stream-scrub-", ignore_cleanup_errors=True)
            )
        )
        say("making a store")
        past = HistoryPlan(1, plan.days, plan.episodes, plan.episodes, 1)
        (folder / "state").mkdir(mode=0o700)
        make_past(folder / "state", past, say)
        write_trivial_bundle(folder / "bundle", CHANNELS, 50.0, WINDOW)
        url = stack.enter_context(broker_of(broker))
        prefix = f"ds/scrub-{time.time_ns()}"
        server = Server(url, prefix, Load(1, viewers=0), folder)
        stack.callback(server.stop)
        _introduce(url, prefix, server.url)
        (folder / "profile").mkdir()
        chromium = stack.enter_context(Chromium(program, folder / "profile"))
        say("dragging")
        return {"schema": SCHEMA, "plan": asdict(plan), **_drag(chromium, server.url, plan)}


def _introduce(broker: str, prefix: str, page: str) -> None:
    """Let the server get to know the device, which sends nothing."""
    link = MqttLink(Broker.parse(broker), f"{prefix.replace('/', '-')}-device")
    link.connect()
    try:
        meta = encode_meta(DeviceMeta(50.0, CHANNELS))
        link.publish(Topics(prefix).of(device_of(0), Kind.META), meta, retain=True)
        link.flush(10.0)
    finally:
        link.close()

    url = f"http://{page.removeprefix('http://')}/api/v1/devices/{device_of(0)}"

    def is_known() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return True
        except OSError:  # 404 until the server has written it down
            return False

    wait_for(is_known)


def _drag(chromium: Chromium, url: str, plan: ScrubPlan) -> dict[str, Any]:
    until_us = BEGIN_US + round((plan.days - plan.shown_days) * DAY_US)
    from_us = until_us - round(plan.shown_days * DAY_US)
    chromium.open(f"{url}/#/device/{device_of(0)}?from={from_us}&until={until_us}")
    chromium.wait(
        "!!document.querySelector('canvas.day')?.getAttribute('aria-label').match(/[0-9]+, newest/)"
    )
    chromium.run(_WATCH)
    box = chromium.run(
        "(({x, y, width, height}) => [x, y + height / 3, width])(document.querySelector('canvas.day')"
        ".getBoundingClientRect())"
    )
    left, middle, width = box[0] + 5, box[1], box[2] - 10
    moves = 0
    for number in range(plan.drags):
        back = number % 3 == 2  # twice into the past, once back: over more than one day
        start, end = (left + width, left) if back else (left, left + width)
        before = chromium.run("location.hash")
        chromium.mouse("mousePressed", start, middle, down=True)
        chromium.run("window.dragging = true")
        began = time.monotonic()
        while (share := (time.monotonic() - began) / plan.seconds) < 1.0:
            chromium.mouse("mouseMoved", start + share * (end - start), middle, down=True)
            moves += 1
            time.sleep(max(0.0, moves / _FASTEST_HZ - (time.monotonic() - began) - number * plan.seconds))
        chromium.run("window.dragging = false")
        chromium.mouse("mouseReleased", end, middle, down=False)
        chromium.wait(f"location.hash !== {before!r}")
    seen = chromium.run("window.scrub")
    return {"moves": moves, **_facts(seen)}


def _facts(seen: dict[str, list[float]]) -> dict[str, Any]:
    frames, drawn, took = (np.array(seen[name], dtype=float) for name in ("frames", "drawn", "took"))
    quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    seconds = float(frames.sum()) / 1000
    return {
        "frames": len(frames),
        "frames_per_s": round(len(frames) / seconds, 1),
        "pictures_per_s": round(float((drawn > 0).sum()) / seconds, 1),
        "frame_ms": {name: round(float(np.quantile(frames, q)), 1) for name, q in quantiles.items()},
        "drawing_ms": {
            name: round(float(np.quantile(took[drawn > 0], q)), 2) for name, q in quantiles.items()
        },
    }
