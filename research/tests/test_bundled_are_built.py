"""The bundled files are what their builder makes of the benchmarks in this repository."""

import json
from typing import Any

import pytest

from research.evaluation_sets import SENTENCES, answers, relations, topics
from research.relations.evaluate import TEST
from research.relations.pairs import read_pairs
from research.topics.evaluate import read_topics
from research.training.batches import TextPair
from trivet.evaluation.bundled import DATA


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


def test_relations_and_topics_follow_their_benchmarks() -> None:
    assert rows("relations.jsonl") == relations(read_pairs(TEST))
    assert rows("topics.jsonl") == topics(read_topics())


def test_relations_name_their_source_and_licence() -> None:
    for row in rows("relations.jsonl"):
        assert row["from"]
        assert row["licence"]


@pytest.mark.parametrize("questions", [3, 40])
def test_answers_are_in_the_corpus_and_nothing_is_twice(questions: int) -> None:
    pairs = [
        TextPair(f"question {i}", f"sentence {i} {'yes' if good else 'no'}", float(good))
        for i in range(questions)
        for good in (True, False)
    ]
    queries, corpus = answers(pairs)
    texts = {row["id"]: row["text"] for row in corpus}
    assert len(texts) == len(set(texts.values())) == min(SENTENCES, 2 * questions)
    assert {q["query"]: [texts[key] for key in q["relevant"]] for q in queries} == {
        f"question {i}": [f"sentence {i} yes"] for i in range(questions)
    }
