"""Texts as the passages that models read."""

from trivet.messages import ModelCard
from trivet.passages.estimate import estimated_tokens, passage_tokens
from trivet.relations.division import Document, divide, divide_all

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


def test_two_passages_and_a_hypothesis_fit_every_model() -> None:
    cards = [card("embedder", 8192), card("reranker", 512), card("classifier", 512)]
    assert passage_tokens(cards, 200) == 200
    assert passage_tokens([*cards, card("classifier", 256)], 200) < 128
    assert passage_tokens([card("embedder", 128)], 200) < 128
    assert passage_tokens([card("embedder", 8)], 200) == 32


def test_the_estimate_counts_words_and_signs() -> None:
    assert estimated_tokens(["", "a bc", "abcdefg", "f(x)=1", "日本"]) == [0, 2, 2, 6, 2]
