"""Every error survives the way between processes with all its fields."""

import pickle

import pytest

from trivet import errors
from trivet.engine.backend import BackendOutOfMemory

ONE_OF_EACH = [
    errors.TrivetError("a"),
    errors.ConfigError("b"),
    errors.ModelError("c"),
    errors.InvalidInput("d", param="documents[3]", code="too_many_inputs"),
    errors.InputTooLong(param="input[0]", tokens=9000, limit_tokens=512),
    errors.Overloaded("e", retry_after_s=2.5),
    errors.DeadlineExceeded("f"),
    errors.Unavailable("g", retry_after_s=3.0),
    errors.GpuUnavailable("embedder: 250 MiB free"),
    errors.EngineError("h"),
    BackendOutOfMemory("i"),
]


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_pickles_whole(error: errors.TrivetError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert copy.args == error.args
    assert copy.__dict__ == error.__dict__
    assert str(copy) == str(error)


def test_every_class_of_the_module_is_covered() -> None:
    defined = {
        thing for thing in vars(errors).values() if isinstance(thing, type) and issubclass(thing, errors.TrivetError)
    }
    assert defined <= {type(error) for error in ONE_OF_EACH}
