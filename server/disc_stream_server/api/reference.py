"""The reference page of the API, made of its OpenAPI document."""

from __future__ import annotations

from typing import Any

_METHODS = ("get", "put", "post", "patch", "delete")
_HEAD = """# The HTTP API

Made of the OpenAPI document by `disc-stream api schema --markdown`; a test keeps it so. The document itself:
`disc-stream api schema`, or `/api/v1/openapi.json` of a running server. All paths stand behind `/api/v1`.
How to make tokens, and how to log in: [api.md](../guides/api.md).
"""
_WEBSOCKET = """
## WebSocket

`/live/ws` (role viewer) sends the events of `GET /live` as JSON messages, `{"event": …, "id": …, "data": …}`.
It takes the same parameters in its address, and `last_event_id` to resume from. A client may send another
filter at any time, `{"devices": […], "tags": […], "clusters": […], "traces": […]}`; anything else ends the
connection (1007, or 1008 for more than five messages a second). Browsers are let in by their login's cookie,
from pages of this server only.
"""


def as_markdown(document: dict[str, Any]) -> str:
    """The page."""
    parts = [_HEAD, f"\n{document['info']['description']}\n"]
    by_tag: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                operation = operations[method]
                by_tag.setdefault(operation["tags"][0], []).append((path, method, operation))
    for tag, found in by_tag.items():
        parts.append(f"\n## {tag.capitalize()}\n")
        parts += [_operation(path, method, operation) for path, method, operation in found]
    parts.append(_WEBSOCKET)
    parts.append("\n## Schemas\n")
    parts += [_schema(name, schema) for name, schema in sorted(document["components"]["schemas"].items())]
    return "".join(parts)


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    role = operation["x-role"]
    lines = [f"\n### {method.upper()} {path}\n\n"]
    lines.append(f"{operation.get('description') or operation.get('summary', '')}\n\n")
    lines.append(f"Role: {'none needed' if role == 'none' else role}.")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        lines.append(f" Body: {_type(body)}.")
    for code, answer in sorted(operation["responses"].items()):
        if code.startswith("2"):
            kinds = {kind: one.get("schema", {}) for kind, one in answer.get("content", {}).items()}
            told = [
                _type(schema) if kind == "application/json" else f"`{kind}`"
                for kind, schema in kinds.items()
                if kind != "application/json" or schema
            ]
            lines.append(f" Answer: {code}{', ' if told else ''}{' or '.join(told)}.")
    problems = [code for code in sorted(operation["responses"]) if not code.startswith("2")]
    lines.append(f" Problems: {', '.join(problems)}.\n")
    if parameters := operation.get("parameters"):
        lines.append("\n| parameter | in | type | |\n| --- | --- | --- | --- |\n")
        lines += [
            f"| `{one['name']}` | {one['in']} | {_type(one['schema'])} "
            f"| {_cell(one.get('description', ''))} |\n"
            for one in parameters
        ]
    return "".join(lines)


def _schema(name: str, schema: dict[str, Any]) -> str:
    lines = [f"\n### {name}\n\n"]
    if text := schema.get("description"):
        lines.append(f"{' '.join(text.split())}\n\n")
    if "enum" in schema:
        lines.append(f"One of {', '.join(f'`{one}`' for one in schema['enum'])}.\n")
        return "".join(lines)
    lines.append("| field | type | |\n| --- | --- | --- |\n")
    needed = set(schema.get("required", ()))
    for field, kind in schema.get("properties", {}).items():
        optional = "" if field in needed else "optional. "
        lines.append(f"| `{field}` | {_type(kind)} | {_cell(optional + kind.get('description', ''))} |\n")
    return "".join(lines)


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{one}`" for one in schema["enum"])
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
