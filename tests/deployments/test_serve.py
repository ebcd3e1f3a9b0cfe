"""`trivet serve` with the shipped file: it says where it listens, answers, and leaves nothing behind."""

import signal
import time

import httpx
import psutil
import pytest

from bench.served import served
from trivet.host_memory import tree

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def test_it_starts_says_so_answers_and_ends_on_ctrl_c_with_every_process() -> None:
    with served({"device": "cpu"}) as service:
        answer = httpx.post(f"{service.url}/v1/embeddings", json={"input": "hello"}, timeout=60)
        assert answer.status_code == 200, answer.text
        members = tree(service.root)
        assert len(members) > 5

        deadline_s = time.monotonic() + 10  # it looks twice a second whether the models answer
        while f"Trivet listens on {service.url}" not in service.log.read_text(encoding="utf-8"):
            assert time.monotonic() < deadline_s, service.log.read_text(encoding="utf-8")
            time.sleep(0.1)

        service.root.send_signal(signal.SIGINT)
        _, left = psutil.wait_procs(members, timeout=60)
        assert left == []
