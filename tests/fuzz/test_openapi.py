"""Requests made up from the OpenAPI schema, sent to the running service: no 5xx, and every answer as the schema says.

`TRIVET_FUZZ_CASES` is how many of them at least; `pytest -s` shows how many it was.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from bench.support.service import service
from tests.support.dispatcher import FakeDispatcher
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings

CASES = int(os.environ["TRIVET_FUZZ_CASES"])

published = create_app(FakeDispatcher(), ApiSettings()).openapi()
config = SchemathesisConfig(
    projects=ProjectsConfig(
        # Unknown headers and query parameters are no errors in HTTP; unknown fields of bodies are tried all the same.
        default=ProjectConfig(generation=GenerationConfig(allow_extra_parameters=False))
    )
)
schema = schemathesis.openapi.from_dict(published, config=config)
# Routes without a body are soon exhausted: the others make up the number.
OPERATIONS = sum(1 for methods in published["paths"].values() if "post" in methods)

# What JSON Schema cannot say: two lists of texts must match in length; only one of two fields may be given; prompts,
# dimensions, outputs and the ids of tokens are the model's own; a label must be among the relations; what a document
# holds besides its text must be fit to be returned.
NOT_SAID_BY_THE_SCHEMA = {
    path: [positive_data_acceptance]
    for path in (
        "/predict",
        "/v1/relations",
        "/v1/rerank",
        "/v2/rerank",
        "/rerank",
        "/score",
        "/v1/score",
        "/embed",
        "/",
        "/similarity",
        "/embeddings",
        "/v1/embeddings",
        "/v2/embed",
        "/api/embed",
        "/embed_sparse",
        "/embed_all",
        "/pooling",
        "/decode",
        "/detokenize",
    )
}
# A wrong document is refused by a line of the answer.
NOT_SAID_BY_THE_SCHEMA["/v1/graph"] = [positive_data_acceptance, negative_data_rejection]

DEADLINE = "x-request-timeout-seconds"

made_up: Counter[str] = Counter()
"""Requests sent, by answer."""

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(0)]


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    with service({"device": "cpu"}) as url:
        assert httpx.get(f"{url}/openapi.json").json() == published
        yield url


@schema.parametrize()
@settings(
    max_examples=-(-CASES // OPERATIONS), deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)
def test_every_answer_is_as_published(case: schemathesis.Case, base_url: str) -> None:
    # Serve's proxy keeps this time as well, and would answer every other request with a 408 of its own.
    if case.headers and re.fullmatch(r"0\.(00[1-9]|0[1-9]|[1-9])[0-9]*", str(case.headers.get(DEADLINE))):
        case.headers[DEADLINE] = "60"
    response = case.call(base_url=base_url)
    made_up[f"{response.status_code // 100}xx"] += 1
    case.validate_response(response, excluded_checks=NOT_SAID_BY_THE_SCHEMA.get(case.operation.path, []))


def test_enough_requests_were_made_up() -> None:
    print(f"{made_up.total()} requests: {dict(made_up)}")  # noqa: T201 - the figure of the run (pytest -s)
    assert made_up.total() >= CASES
    assert made_up["2xx"] > 0.1 * CASES, "the schema lets hardly any request through"
    assert made_up["4xx"] > 0.1 * CASES, "nothing wrong was tried"
