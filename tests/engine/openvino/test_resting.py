"""A backend that drops its graph and opens it again: the same outputs, and a forward in flight is not cut off."""

import threading

import numpy as np
import pytest

from trivet.engine.backend import OneStep
from trivet.engine.batch.layout import PADDED
from trivet.engine.batch.token_batch import TokenBatch
from trivet.engine.openvino.resting import RestingBackend
from trivet.messages import Floats


class Graph:
    """A backend that answers with the number of times that it was opened."""

    device = "cpu (graph)"
    layout = PADDED
    in_flight = 1
    token_budget = 1024
    falls_back = False
    gpu = None
    fault = None
    opened = 0
    closed = False
    released = 0

    def __init__(self) -> None:
        Graph.opened += 1
        self.number = Graph.opened

    def launch(self, batch: TokenBatch) -> OneStep:
        return OneStep(lambda: np.full((len(batch.lengths), 1), self.number, dtype=np.float32))

    def release_scratch(self) -> None:
        Graph.released += 1

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def count() -> None:
    Graph.opened = Graph.released = 0


ONE = TokenBatch.of([np.array([1, 2], dtype=np.int32)])


def resting(clock: list[float] | None = None) -> RestingBackend:
    now = clock if clock is not None else [0.0]
    return RestingBackend(Graph, model="embedder", clock=lambda: now[0])


def ask(backend: RestingBackend) -> float:
    outputs: Floats = backend.launch(ONE).result()
    return float(outputs[0, 0])


def test_buffers_are_returned_unless_it_rests() -> None:
    backend = resting()
    backend.release_scratch()
    assert Graph.released == 1
    backend.rest()
    backend.release_scratch()
    assert (Graph.released, backend.resting) == (1, True)


def test_it_opens_at_once_rests_and_wakes_at_the_next_forward() -> None:
    backend = resting()
    assert (backend.device, backend.layout, backend.in_flight, backend.token_budget) == ("cpu (graph)", PADDED, 1, 1024)
    assert (ask(backend), backend.resting) == (1, False)
    backend.rest()
    assert backend.resting
    backend.rest()
    assert (ask(backend), backend.resting, ask(backend)) == (2, False, 2)
    backend.rest()
    backend.wake()
    backend.wake()
    assert (backend.resting, Graph.opened) == (False, 3)


def test_a_forward_in_flight_ends_although_the_backend_rests() -> None:
    backend = resting()
    pending = backend.launch(ONE)
    backend.rest()
    assert pending.result()[0, 0] == 1


def test_two_threads_that_wake_it_open_it_once() -> None:
    backend = resting()
    backend.rest()
    threads = [threading.Thread(target=backend.wake) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Graph.opened == 2


def test_it_knows_how_long_it_was_idle() -> None:
    clock = [10.0]
    backend = resting(clock)
    clock[0] = 25.0
    assert backend.idle_s == 15.0
    ask(backend)
    assert backend.idle_s == 0.0


def test_a_model_that_cannot_be_opened_again_says_so_and_stays_at_rest() -> None:
    backend = resting()
    backend.rest()
    backend._open = lambda: (_ for _ in ()).throw(OSError("the file is gone"))
    with pytest.raises(OSError, match="gone"):
        backend.launch(ONE)
    assert backend.resting


def test_it_closes_what_is_open() -> None:
    backend = resting()
    inner = backend.wake()
    backend.close()
    assert inner.closed  # type: ignore[attr-defined]
    backend.close()
