"""The page's files: found in the package, under a strict policy, open where keys guard the rest."""

import re
from importlib.resources import files

import httpx
import pytest

from tests.api.conftest import Connect
from tests.support.dispatcher import FakeDispatcher
from trivet.api.key_ring import KeyRing, hash_key
from trivet.api.settings import ApiSettings

UI = files("trivet.api").joinpath("ui")


async def test_the_short_address_leads_to_the_page(client: httpx.AsyncClient) -> None:
    answer = await client.get("/ui")
    assert answer.status_code == 307
    assert answer.headers["location"] == "ui/"  # relative, so that it holds under a route prefix
    page = await client.get("/ui/")
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize("name", ["", "main.js", "css/base.css", "icon.svg"])
async def test_every_file_carries_the_policy(client: httpx.AsyncClient, name: str) -> None:
    answer = await client.get(f"/ui/{name}")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = await client.get(f"/ui/{name}", headers={"if-none-match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "../status.py", "%2e%2e/keys.py", "css", "/etc/passwd"])
async def test_nothing_else_can_be_named(client: httpx.AsyncClient, name: str) -> None:
    assert (await client.get(f"/ui/{name}")).status_code == 404


async def test_the_page_is_open_and_the_status_is_not(connect: Connect) -> None:
    keys = KeyRing.parse(f"someone {hash_key('secret')}", origin="test")
    client = connect(FakeDispatcher(), ApiSettings(keys=keys))
    assert (await client.get("/ui/")).status_code == 200
    assert (await client.get("/ui/main.js")).status_code == 200
    assert (await client.get("/v1/status")).status_code == 401
    assert (await client.get("/uix")).status_code == 401
    assert (await client.get("/v1/status", headers={"authorization": "Bearer secret"})).status_code == 200


def test_the_page_requests_nothing_from_other_hosts() -> None:
    for folder in (UI, UI.joinpath("css"), UI.joinpath("status"), UI.joinpath("playground")):
        for entry in folder.iterdir():
            if entry.is_file():
                text = re.sub(r"http://www\.w3\.org/2000/svg", "", entry.read_text())
                assert not re.search(r"https?://|//cdn", text), entry.name
