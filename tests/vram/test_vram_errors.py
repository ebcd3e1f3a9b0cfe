import pickle

import pytest

from tests.vram.fakes import MIB
from trivet.errors import ConfigError, TrivetError
from trivet.vram.errors import DoesNotFit, SimulatedOutOfMemory
from trivet.vram.ollama.client import OllamaUnavailable


@pytest.mark.parametrize(
    "error",
    [
        SimulatedOutOfMemory(model="embedder", asked_bytes=3 * MIB, free_bytes=MIB),
        DoesNotFit("too much", needed_bytes=2, gpu_bytes=1, nearest_preset="cpu"),
        OllamaUnavailable("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_keep_their_fields_when_pickled(error: TrivetError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


def test_a_plan_that_does_not_fit_is_a_configuration_error() -> None:
    assert issubclass(DoesNotFit, ConfigError)


def test_the_out_of_memory_error_states_both_sizes() -> None:
    error = SimulatedOutOfMemory(model="embedder", asked_bytes=3 * MIB, free_bytes=MIB)
    assert str(error) == "simulated GPU: embedder asked for 3 MiB, 1 MiB free"
