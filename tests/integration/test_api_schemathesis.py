"""The API against its own OpenAPI document: generated requests, good and bad, and answers that fit it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import ignored_auth, positive_data_acceptance

from disc_stream_server.api.app import openapi_document
from tests.support.api import ApiPlace, api_place

DOCUMENT = openapi_document()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiPlace]:
    with api_place(tmp_path_factory.mktemp("schemathesis"), roles=True) as place:
        place.fill()
        yield place


# What no schema can say of a value that it allows.
BEYOND_SCHEMA = (
    "this is no cursor",
    "use printable characters",
    "until_us must be after",
    "expired already",
    "cannot be",
)
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path="/live")
QUIET = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}


ASKED: set[tuple[str, str]] = set()


def ask(place: ApiPlace, case: schemathesis.Case) -> None:
    headers = {"authorization": f"Bearer {place.tokens['admin']}"}
    answer = case.call_and_validate(
        base_url=f"{place.url}/api/v1",
        headers=headers,
        # The first takes our header for none (tests/security/test_api_access.py has it instead), the second
        # knows no rule beyond the schema: they are named above, and nothing else may refuse what fits it.
        excluded_checks=[ignored_auth, positive_data_acceptance],
    )
    ASKED.add((case.operation.method.lower(), case.operation.path))
    is_good = case.meta is not None and case.meta.generation.mode.is_positive
    if is_good and answer.status_code == 422:
        detail = answer.json()["detail"]
        assert any(words in detail for words in BEYOND_SCHEMA), detail


def make_tests(method: str, path: str) -> None:
    """Two tests of one operation.

    They have names of their own: schemathesis gives all operations of a document one node id, and
    pytest-xdist would run one of them and leave the others out.
    """
    one = schema.include(method=method.upper(), path=path)
    name = f"{method}_{re.sub('[^a-z]+', '_', path).strip('_')}"

    @one.parametrize()
    @settings(max_examples=2, **QUIET)
    def short(place: ApiPlace, case: schemathesis.Case) -> None:
        ask(place, case)

    @pytest.mark.long
    @one.parametrize()
    @settings(max_examples=300, **{**QUIET, "derandomize": False})
    def for_long(place: ApiPlace, case: schemathesis.Case) -> None:
        ask(place, case)

    assert f"test_{name}" not in globals()
    globals()[f"test_{name}"] = short
    globals()[f"test_{name}_for_long"] = for_long


EVERY = {(method, path) for path, found in DOCUMENT["paths"].items() for method in found if path != "/live"}
for operation in sorted(EVERY):
    make_tests(*operation)


def test_no_operation_was_left_out() -> None:
    """Behind the others, in their process."""
    assert EVERY == ASKED
