"""Home Assistant's own validation of discovery messages. Run by its Python, not ours; see README.md here.

Reads JSON lines on stdin. For {topic, payload} it prints what the MQTT integration would say: "" if it takes
the message, else its complaint; for {template, payload} what the template makes of a payload.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import tempfile
from typing import Any

import voluptuous as vol
from homeassistant.components.mqtt import discovery
from homeassistant.components.mqtt.schemas import DEVICE_DISCOVERY_SCHEMA
from homeassistant.core import HomeAssistant
from homeassistant.helpers.template import Template

_MATCHER = discovery.TOPIC_MATCHER


def complaint(topic: str, payload: str) -> str:
    """What is wrong with a message."""
    match = _MATCHER.match(topic.partition("/")[2])
    if match is None:
        return f"the topic {topic!r} is not of its grammar"
    if match["component"] != "device":
        return "it announces no device"
    if not payload:
        return ""
    message: dict[str, Any] = json.loads(payload)
    discovery._replace_all_abbreviations(message)
    try:
        DEVICE_DISCOVERY_SCHEMA(message)
        for one in message["components"].values():
            config = {**one, "device": message["device"], "origin": message["origin"]}
            platform = config.pop("platform")
            discovery._merge_common_device_options(config, message)
            importlib.import_module(f"homeassistant.components.mqtt.{platform}").DISCOVERY_SCHEMA(config)
    except vol.Invalid as error:
        return str(error) or type(error).__name__
    return ""


def rendered(hass: HomeAssistant, template: str, payload: str) -> str:
    """What a template makes of a payload."""
    return str(Template(template, hass).async_render_with_possible_json_value(payload, parse_result=False))


async def main() -> None:
    """Answer."""
    with tempfile.TemporaryDirectory() as folder:
        hass = HomeAssistant(folder)
        for line in sys.stdin:
            read = json.loads(line)
            if "template" in read:
                answer = rendered(hass, read["template"], read["payload"])
            else:
                answer = complaint(read["topic"], read["payload"])
            print(json.dumps({"answer": answer}))


asyncio.run(main())
