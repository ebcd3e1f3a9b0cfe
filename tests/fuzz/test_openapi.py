"""Requests made up from the OpenAPI schema: no 5xx, and every answer as the schema says.

`TRIVET_FUZZ_CASES` is the number of made-up requests over all routes; the default is a glance. `make test-fuzz`
asks for 10,000.
"""

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.config import GenerationConfig, ProjectConfig, ProjectsConfig, SchemathesisConfig
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.api.fakes import FakeDispatcher
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings

CASES = int(os.environ.get("TRIVET_FUZZ_CASES", "500"))

app = create_app(FakeDispatcher(), ApiSettings())
config = SchemathesisConfig(
    projects=ProjectsConfig(
        # Unknown headers and query parameters are no errors in HTTP; unknown fields of bodies are tried all the same.
        default=ProjectConfig(generation=GenerationConfig(allow_extra_parameters=False))
    )
)
schema = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
OPERATIONS = sum(1 for _ in schema.get_all_operations())

# Two lists of texts must be of matching length, which JSON Schema cannot say.
NOT_SAID_BY_THE_SCHEMA = {path: [positive_data_acceptance] for path in ("/score", "/v1/score")}

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(0)]


@schema.parametrize()
@settings(
    max_examples=-(-CASES // OPERATIONS), deadline=None, suppress_health_check=list(HealthCheck), derandomize=False
)
def test_every_answer_is_as_published(case: schemathesis.Case) -> None:
    case.call_and_validate(excluded_checks=NOT_SAID_BY_THE_SCHEMA.get(case.operation.path, []))
