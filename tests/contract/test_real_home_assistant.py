"""Home Assistant's own code on our discovery messages, where it is installed (tests/standards/README.md)."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from disc_stream.wire import examples
from disc_stream.wire.activity import Activity, encode_activity
from disc_stream.wire.event import SCHEMA as EVENT_SCHEMA
from disc_stream.wire.event import Event, EventType, encode_event
from disc_stream.wire.topics import Topics
from disc_stream_server.homeassistant.discovery import Discovery
from disc_stream_server.homeassistant.options import Options

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).parents[1] / "standards/homeassistant.py"
NAMES = [
    "walking",
    "x" * 10_000,
    "\0\x1b[31m",
    "{{ states('a') }}",
    "None",
    "unknown",
    "\u202egnp",
    "",
    "✓" * 300,
]
DEVICES = ["watch-17", "a.b:c", "A" + "b" * 63, "1"]


def ask(questions: Sequence[dict[str, str]]) -> list[str]:
    """What Home Assistant says."""
    command = os.environ.get("DISC_STREAM_HOMEASSISTANT")
    if command is None:
        pytest.skip("DISC_STREAM_HOMEASSISTANT does not say where Home Assistant's Python is")
    lines = [json.dumps(one) for one in questions]
    done = subprocess.run(
        [*shlex.split(command), "-c", SCRIPT.read_text(encoding="utf-8")], check=False,
        input="\n".join(lines), capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    return [json.loads(line)["answer"] for line in done.stdout.splitlines()]


def complaints(messages: Sequence[tuple[str, str]]) -> list[str]:
    """What Home Assistant says of messages (topic, payload)."""
    return ask([{"topic": topic, "payload": payload} for topic, payload in messages])


def test_it_takes_every_message_and_refuses_wrong_ones() -> None:
    many = Options(enumerate(f"cluster {n}" for n in range(4_096)))
    hostile = Options(enumerate(NAMES))
    ours = []
    for options in (many, hostile):
        for prefix in ("ds/v1", "my/own-fleet"):
            for events in (False, True):
                one = Discovery(Topics(prefix), has_events=events)
                ours += [(one.topic(d), one.config(d, options.all).decode()) for d in DEVICES]
    ours.append((Discovery(Topics()).topic("watch-17"), ""))
    assert set(complaints(ours)) == {""}

    config = json.loads(ours[4][1])
    wrong = []
    for component, change in (
        ("activity", {"device_class": "temperature"}),
        ("activity", {"unique_id": 7, "state_topic": "a/#/b"}),
        ("activity", {"expire_after": -1}),
        ("connection", {"device_class": "enum"}),
    ):
        parts = {**config["components"], component: {**config["components"][component], **change}}
        wrong.append((ours[0][0], json.dumps({**config, "components": parts})))
    wrong.append((ours[0][0], json.dumps({**config, "origin": {}})))
    wrong.append(("homeassistant/device/a.b/config", ours[0][1]))
    assert all(complaints(wrong)), "a check that refuses nothing shows nothing"


def test_its_templates_make_states_and_events_of_our_messages() -> None:
    parts = json.loads(Discovery(Topics(), has_events=True).config("d", ["walking"]))["components"]
    names = [Options([(1, name)]).all[2] for name in NAMES]
    activities = [encode_activity(Activity(name, 1, 2)).decode() for name in names]
    event = Event(EVENT_SCHEMA, "0a1b2c3d-7", 7, EventType.EPISODE_BEGAN, "d", 5, 4, None, 1, '{{ 1 }} "a"')
    questions = [{"template": parts["activity"]["value_template"], "payload": one} for one in activities]
    questions += [
        {"template": parts["connection"]["value_template"], "payload": one.decode()}
        for one in examples.device_status().values()
    ]
    questions.append({"template": parts["event"]["value_template"], "payload": encode_event(event).decode()})
    answers = ask(questions)
    assert answers[: len(names)] == names
    assert answers[len(names) : -1] == ["online", "offline"]
    assert json.loads(answers[-1]) == {"event_type": "episode.began", "activity": event.name, "id": event.id}
