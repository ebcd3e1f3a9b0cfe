"""`/docs` and `/redoc`: complete without any other server."""

import re
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest

from tests.support.shared_app import application
from trivet.api.examples import EXAMPLES
from trivet.api.settings import ApiSettings

PAGES = ["/docs", "/redoc"]
SCHEMA = application(ApiSettings())[0].openapi()
LOADED = re.compile(r"""\b(?:src|href|spec-url)=["']([^"']+)""")


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_loads_nothing_from_elsewhere(client: httpx.AsyncClient, page: str) -> None:
    answer = await client.get(page)
    assert answer.headers["content-type"].startswith("text/html")
    assert "://" not in answer.text
    loaded = LOADED.findall(answer.text)
    assert loaded
    for name in loaded:
        assert (await client.get(urljoin(f"http://trivet{page}", name))).status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "http" not in policy


async def test_the_scripts_are_those_of_the_package(client: httpx.AsyncClient) -> None:
    assert "SwaggerUIBundle" in (await client.get("/docs/assets/swagger-ui-bundle.js")).text
    assert "redoc" in (await client.get("/docs/assets/redoc.standalone.js")).text
    assert "openapi.json" in (await client.get("/docs/assets/start.js")).text


@pytest.mark.parametrize("name", ["..%2Fapp.py", "core.py", "start.js/..", ""])
async def test_no_other_file_is_served(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/docs/assets/{name}")).status_code == 404


def test_every_body_has_an_example() -> None:
    posted = {path for path, methods in SCHEMA["paths"].items() if "post" in methods}
    assert posted == set(EXAMPLES)


@pytest.mark.parametrize(
    ("path", "body"), [(path, body) for path, titled in EXAMPLES.items() for body in titled.values()]
)
async def test_every_example_is_answered(client: httpx.AsyncClient, path: str, body: Any) -> None:
    response = await client.post(path, json=body)
    assert response.status_code == 200, response.text


def test_the_document_says_how_to_send_a_key() -> None:
    assert SCHEMA["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert {"key": []} in SCHEMA["security"]


def test_every_optional_field_may_be_null() -> None:
    rerank = SCHEMA["components"]["schemas"]["RerankBody"]
    optional = {name: field for name, field in rerank["properties"].items() if name not in rerank["required"]}
    assert all({"type": "null"} in field["anyOf"] for field in optional.values())
    assert {"return_documents", "top_n"} <= set(optional)
    assert "anyOf" not in rerank["properties"]["query"]
