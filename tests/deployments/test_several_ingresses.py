"""Two ingress replicas in front of one set of models: callers and the page cannot tell them apart."""

from collections.abc import Iterator

import httpx
import pytest
from ray import serve

from deployments.ingress import Ingress
from deployments.options import deployment_name, ingress_options
from tests.deployments.conftest import STARTERS, Client
from trivet.config import TASKS, AppConfig

pytestmark = pytest.mark.ray

NAME = "two-ingresses"


@pytest.fixture(scope="module")
def client(cluster: str, starters: Client) -> Iterator[Client]:
    """Only the ingress is deployed again; the models are those of the shared application."""
    config = AppConfig.model_validate({"device": "cpu", "serving": {"ingress_replicas": 2}})
    handles = {task: {"cpu": serve.get_deployment_handle(deployment_name(task, "cpu"), STARTERS)} for task in TASKS}
    application = serve.deployment(**ingress_options(config))(Ingress).bind(config, handles, "several")
    serve.run(application, name=NAME, route_prefix=f"/{NAME}")
    with httpx.Client(base_url=f"{cluster}/{NAME}", timeout=310) as opened:
        yield opened
    serve.delete(NAME)


def _post(client: Client, text: str) -> str:
    # A connection of its own, so that the proxy may choose another replica.
    response = httpx.post(f"{client.base_url}v1/embeddings", json={"input": text}, timeout=310)
    assert response.status_code == 200, response.text
    return response.headers["x-trivet-cache"]


def test_one_cache(client: Client) -> None:
    assert [_post(client, "computed once") for _ in range(12)] == ["miss", *["hit"] * 11]


def test_one_count(client: Client) -> None:
    def calls() -> int:
        status = httpx.get(f"{client.base_url}v1/status", timeout=60).json()
        return int(status["models"]["embedder"]["last_minute"]["calls"])

    before = calls()
    assert before >= 1
    for number in range(1, 6):
        assert _post(client, f"text {number}") == "miss"
        assert {calls() for _ in range(6)} == {before + number}
