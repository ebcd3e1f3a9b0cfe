"""Every error survives pickling with all its fields, and names the offending input."""

import pickle

import pytest

from trivet import errors
from trivet.engine.backend import BackendOutOfMemory
from trivet.errors import remap_field_index

ONE_OF_EACH = [
    errors.TrivetError("a"),
    errors.ConfigError("b"),
    errors.ModelError("c"),
    errors.InvalidInput("d", field="documents", index=3, code="too_many_inputs"),
    errors.InputTooLong(field="input", index=0, tokens=9000, limit_tokens=512),
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


@pytest.mark.parametrize(
    ("index", "param"),
    [(None, "input"), (0, "input[0]"), (12, "input[12]")],
    ids=["field", "first", "later"],
)
def test_the_offending_input_is_named_by_field_and_index(index: int | None, param: str) -> None:
    assert errors.InvalidInput("no", field="input", index=index).param == param
    too_long = errors.InputTooLong(field="input", index=index, tokens=2, limit_tokens=1)
    assert too_long.message.startswith(f"{param} has 2 tokens")


def test_an_index_within_a_part_becomes_one_within_the_whole() -> None:
    for index, expected in ((None, None), (0, 5), (1, 9)):
        error = errors.InputTooLong(field="input", index=index, tokens=2, limit_tokens=1)
        with pytest.raises(errors.InputTooLong) as raised, remap_field_index([5, 9]):
            raise error
        assert raised.value.index == expected
        assert str(raised.value.param) in str(pickle.loads(pickle.dumps(raised.value)))
