"""Labelled files: valid ones are read, and errors name file, line and field."""

from collections.abc import Callable
from pathlib import Path

import pytest

from trivet.evaluation.bundled import BUNDLED, read_bundled
from trivet.evaluation.files import BadSet, read_pairs, read_rerank, read_retrieval, read_texts
from trivet.evaluation.sets import LabelledPair, PairSet, RerankQuery, RetrievalQuery, RetrievalSet, TextSet

Write = Callable[[str, str], Path]

CORPUS = '{"id": "a", "text": "one"}\n\n{"id": "b", "text": "two", "note": "kept out"}\n'
QUERY = '{"query": "q", "relevant": ["b"]}\n'


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_text(name: str, content: str) -> Path:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write_text


def test_reads_a_corpus_and_its_queries(write: Write) -> None:
    found = read_retrieval(write("q", "\ufeff" + QUERY), write("c", CORPUS), name="mine")
    assert found == RetrievalSet("mine", ("one", "two"), (RetrievalQuery("q", frozenset({1})),))


def test_reads_candidates_pairs_and_texts(write: Write) -> None:
    rerank = write("r", '{"query": "q", "documents": ["x", "y"], "relevant": [1]}')
    assert read_rerank(rerank, name="r").queries == (RerankQuery("q", ("x", "y"), frozenset({1})),)
    pairs = write("p", '{"source": "s", "target": "t", "relation": "same"}')
    assert read_pairs(pairs, name="p") == PairSet("p", (LabelledPair("s", "t", "same"),))
    texts = write("t", '{"text": "x", "label": "b"}\n{"text": "y", "label": "a"}\n')
    assert read_texts(texts, name="t").labels == ("a", "b")


def test_a_limit_takes_the_first_but_checks_all(write: Write) -> None:
    good = '{"source": "s", "target": "t", "relation": "same"}\n'
    assert len(read_pairs(write("p", good * 5), name="p", limit=2).pairs) == 2
    with pytest.raises(BadSet, match=r"p:4: target: Field required"):
        read_pairs(write("p", good * 3 + '{"source": "s", "relation": "same"}'), name="p", limit=2)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"query": "q"', "q.jsonl:1: Invalid JSON"),
        ("[]", "q.jsonl:1: Input should be an object"),
        (QUERY + '\n{"query": "", "relevant": ["a"]}', "q.jsonl:3: query: String should have at least 1 character"),
        ('{"query": "q"}', "q.jsonl:1: relevant: Field required"),
        ('{"query": "q", "relevant": []}', "q.jsonl:1: relevant: List should have at least 1 item"),
        ('{"query": "q", "relevant": ["a", "z"]}', "q.jsonl:1: relevant.1: .*c.jsonl has no document with the id 'z'"),
        ('{"query": "q", "relevant": [1]}', "q.jsonl:1: relevant.0: Input should be a valid string"),
        ("\n", "q.jsonl: no rows"),
    ],
)
def test_errors_name_file_line_and_field(write: Write, content: str, message: str) -> None:
    with pytest.raises(BadSet, match=message):
        read_retrieval(write("q.jsonl", content), write("c.jsonl", CORPUS), name="mine")


def test_errors_of_other_files_do_too(write: Write, tmp_path: Path) -> None:
    with pytest.raises(BadSet, match=r"c:4: id: 'a' occurs twice"):
        read_retrieval(write("q", QUERY), write("c", CORPUS + '{"id": "a", "text": "x"}'), name="x")
    with pytest.raises(BadSet, match=r"r:1: relevant.0: 2 is not a position from 0 to 1"):
        read_rerank(write("r", '{"query": "q", "documents": ["x", "y"], "relevant": [2]}'), name="r")
    pairs = write("p", '{"source": "s", "target": "t", "relation": "other"}')
    with pytest.raises(BadSet, match=r"p:1: relation: 'other' is not one of same, less"):
        read_pairs(pairs, name="p", relations={"same": "…", "less": "…"})
    with pytest.raises(BadSet, match="label: all texts have the same label"):
        read_texts(write("t", '{"text": "x", "label": "b"}'), name="t")
    with pytest.raises(BadSet, match="No such file"):
        read_texts(tmp_path / "absent", name="t")
    (tmp_path / "latin").write_bytes(b'{"text": "caf\xe9"}')
    with pytest.raises(BadSet, match="not UTF-8"):
        read_texts(tmp_path / "latin", name="t")


def test_the_bundled_sets_can_be_read() -> None:
    sets = {name: read_bundled(name) for name in BUNDLED}
    answers, relations, topics = sets["answers"], sets["relations"], sets["topics"]
    assert isinstance(answers, RetrievalSet)
    assert isinstance(relations, PairSet)
    assert isinstance(topics, TextSet)
    assert (len(answers.queries), len(answers.corpus)) == (150, 600)
    counts = {pair.relation: 0 for pair in relations.pairs}
    for pair in relations.pairs:
        counts[pair.relation] += 1
    assert counts == {"dependency": 50, "expansion": 50, "contradiction": 50, "unrelated": 50}
    assert (len(topics.texts), len(topics.labels)) == (100, 8)


@pytest.mark.parametrize("limit", [1, 8])
def test_a_small_sample_is_labelled_with_all_labels(limit: int) -> None:
    topics = read_bundled("topics", limit=limit)
    assert isinstance(topics, TextSet)
    assert (len(topics.texts), len(topics.labels)) == (limit, 8)
