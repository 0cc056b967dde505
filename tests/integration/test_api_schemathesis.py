"""The API against its own OpenAPI document: generated requests, good and bad, and answers that fit it."""

from __future__ import annotations

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
BEYOND_SCHEMA = ("this is no cursor", "use printable characters", "until_us must be after", "expired already", "cannot be")
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path="/live")
QUIET = {"derandomize": True, "database": None, "deadline": None, "suppress_health_check": list(HealthCheck)}


def ask(place: ApiPlace, case: schemathesis.Case) -> None:
    headers = {"authorization": f"Bearer {place.tokens['admin']}"}
    answer = case.call_and_validate(
        base_url=f"{place.url}/api/v1",
        headers=headers,
        # The first takes our header for none (tests/security/test_api_access.py has it instead), the second
        # knows no rule beyond the schema: they are named above, and nothing else may refuse what fits it.
        excluded_checks=[ignored_auth, positive_data_acceptance],
    )
    is_good = case.meta is not None and case.meta.generation.mode.is_positive
    if is_good and answer.status_code == 422:
        detail = answer.json()["detail"]
        assert any(words in detail for words in BEYOND_SCHEMA), detail


@schema.parametrize()
@settings(max_examples=4, **QUIET)
def test_answers_fit_the_document(place: ApiPlace, case: schemathesis.Case) -> None:
    ask(place, case)


@pytest.mark.long
@schema.parametrize()
@settings(max_examples=300, **{**QUIET, "derandomize": False})
def test_answers_fit_the_document_for_long(place: ApiPlace, case: schemathesis.Case) -> None:
    ask(place, case)
