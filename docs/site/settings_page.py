"""The page of the server's settings, from their own descriptions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml
from pydantic import BaseModel
from tables import code, plain, table

from disc_stream.config import EventsConfig, HomeAssistantConfig, RetrainConfig, ServeConfig, WebhookConfig
from disc_stream.configfile import facts_of

_HEAD = """# Settings of the server

Made of the settings themselves by `python docs/site/reference.py`; a test keeps it so. They stand in a YAML
file, `disc-stream serve --config FILE`; `disc-stream serve --print-config` writes one with all of them,
explained. An option of the same name (`memory_mb` is `--memory-mb`; [serve](cli.md#serve) has those that
there are) wins over the file. A name that is not known is refused, and so is a value out of its range,
before anything starts.
"""
_SECTIONS: tuple[tuple[str, str, type[BaseModel]], ...] = (
    ("All of them", "", ServeConfig),
    ("retrain", "When a server retrains, and how: [retraining.md](retraining.md).", RetrainConfig),
    (
        "home_assistant",
        "What Home Assistant is told, and how fast: [home-assistant.md](../guides/home-assistant.md).",
        HomeAssistantConfig,
    ),
    ("events", "Where events go: [events.md](events.md).", EventsConfig),
    ("events.webhooks", "Each of the list.", WebhookConfig),
)


def page() -> str:
    """The Markdown."""
    parts = [_HEAD]
    for title, words, model in _SECTIONS:
        parts += [
            f"\n## {title}\n\n",
            f"{words}\n\n" if words else "",
            table(("Setting", "Meaning", "Default"), _rows(model)),
        ]
    return "".join(parts)


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        said = (field.title or "") + (f": {field.description}" if field.description else "")
        facts = ", ".join(facts_of(field))
        yield code(name), plain(f"{said} ({facts})" if facts else said), _default(field)


def _default(field: Any) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    text = yaml.safe_dump(list(value) if isinstance(value, tuple) else value, default_flow_style=True)
    text = text.removesuffix("...\n").strip()
    return "" if text in ("null", "[]", "{}") else code(text)
