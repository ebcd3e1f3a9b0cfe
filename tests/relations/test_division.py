"""Texts as the passages that models read."""

import asyncio
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.messages import ModelCard
from trivet.passages.estimate import estimated_tokens, exceeds, passage_tokens
from trivet.relations import division
from trivet.relations.division import SHORT_CHARACTERS, Document, divide, divide_all
from trivet.turns import Steps

LONG = "\n\n".join(f"# Part {number}\n\n" + "several words about it. " * 30 for number in range(4))


def card(task: str, max_tokens: int) -> ModelCard:
    return ModelCard(task, "m", "r", max_tokens)  # type: ignore[arg-type]


def test_a_short_text_is_read_unchanged() -> None:
    text = "  one\ntwo\n"
    (passage,) = divide(Document(text), 50)
    assert (passage.read, passage.start, passage.end) == (text, 0, len(text))
    assert (passage.start_line, passage.end_line) == (1, 2)


async def test_long_texts_have_spans_and_lines() -> None:
    short, long = await divide_all([Document("one"), Document(LONG * 3)], 100)
    assert len(short) == 1
    assert len(long) > 4
    for passage in long:
        assert (LONG * 3)[passage.start : passage.end] == passage.text
        assert (LONG * 3).count("\n", 0, passage.start) + 1 == passage.start_line
        assert estimated_tokens([passage.text])[0] <= 100


class Gate:
    """Divides long texts in two steps, of which the first waits."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()
        self.steps = 0

    def division_steps(self, text: str, *_: Any, **__: Any) -> Steps[list[Any]]:
        for _ in range(2 if len(text) > SHORT_CHARACTERS else 0):
            yield 1
            self.steps += 1
            self.entered.set()
            self.opened.wait(10)
        return []


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    made = Gate()
    monkeypatch.setattr(division, "division_steps", made.division_steps)
    return made


async def test_a_short_text_does_not_wait_for_a_long_one(gate: Gate) -> None:
    long = asyncio.ensure_future(divide_all([Document("word " * SHORT_CHARACTERS)], 100))
    await asyncio.to_thread(gate.entered.wait, 10)
    async with asyncio.timeout(5):
        [[short]] = await divide_all([Document("word " * 5000)], 100)
    assert len(short.text) == 25_000
    assert not long.done()
    gate.opened.set()
    assert len(await long) == 1


async def test_a_caller_who_leaves_ends_the_division_at_its_next_step(gate: Gate) -> None:
    left = asyncio.ensure_future(divide_all([Document("word " * SHORT_CHARACTERS)], 100))
    await asyncio.to_thread(gate.entered.wait, 10)
    left.cancel()
    await asyncio.gather(left, return_exceptions=True)
    gate.opened.set()
    assert len(await divide_all([Document("word " * SHORT_CHARACTERS)], 100)) == 1
    assert gate.steps == 3  # one of the first text, two of the second


@given(st.text("ab1! \n日", max_size=60), st.integers(0, 30))
def test_a_text_exceeds_a_limit_if_its_estimate_does(text: str, most: int) -> None:
    assert exceeds(text, most) == (estimated_tokens([text])[0] > most)


def test_two_passages_and_a_hypothesis_fit_every_model() -> None:
    cards = [card("embedder", 8192), card("reranker", 512), card("classifier", 512)]
    assert passage_tokens(cards, 200) == 200
    assert passage_tokens([*cards, card("classifier", 256)], 200) < 128
    assert passage_tokens([card("embedder", 128)], 200) < 128
    assert passage_tokens([card("embedder", 8)], 200) == 32


def test_the_estimate_counts_words_and_signs() -> None:
    assert estimated_tokens(["", "a bc", "abcdefg", "f(x)=1", "日本"]) == [0, 2, 2, 6, 2]
