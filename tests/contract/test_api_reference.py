"""The reference page of the API is what the OpenAPI document says, and the document is one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from disc_stream_server.api.app import openapi_document
from disc_stream_server.api.live.feed import LiveLabel
from disc_stream_server.api.reference import as_markdown

ROOT = Path(__file__).parents[2]


def test_the_reference_page_is_up_to_date() -> None:
    page = (ROOT / "docs/reference/api.md").read_text(encoding="utf-8")
    again = "run: disc-stream api schema --markdown --out docs/reference/api.md"
    assert page == as_markdown(openapi_document()), again


def test_the_document_is_openapi_3_1_and_whole() -> None:
    document = openapi_document()
    assert document["openapi"] == "3.1.0"
    text = msgspec.json.encode(document).decode()
    for name in document["components"]["schemas"]:
        assert name.isidentifier() or name.replace("-", "_").isidentifier()
    referred = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert referred <= document["components"]["schemas"].keys()
    assert set(document["components"]["schemas"]["LiveLabel"]["properties"]) == set(
        LiveLabel.__struct_fields__
    )
    ids = [one["operationId"] for found in document["paths"].values() for one in found.values()]
    assert len(ids) == len(set(ids))
    for path, found in document["paths"].items():
        for method, one in found.items():
            assert one["description"].strip(), f"{method} {path} says nothing of itself"
            assert not {code for code in one["responses"] if code.startswith("5")} - {"503"}
