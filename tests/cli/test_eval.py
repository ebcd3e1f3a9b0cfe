"""`trivet eval` against a service whose answers can be computed by hand."""

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, records
from tests.support.dispatcher import FakeDispatcher, vector_of
from tests.support.serving import closed_port
from trivet.evaluation.measure import Latency
from trivet.messages import ClassifyRequest, EmbedRequest, RerankRequest

# The fake reranker counts common words; the fake embedder sums a vector for each word.
CORPUS = [
    {"id": "bread", "text": "knead the dough and bake it"},
    {"id": "retry", "text": "wait then send the request again"},
    {"id": "tree", "text": "a tree index finds rows"},
]
QUERIES = [
    {"query": "bake dough", "relevant": ["bread"]},
    {"query": "send again", "relevant": ["retry"]},
]
TIMES = {"p50_ms", "p95_ms", "item_ms"}


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path.name


@pytest.fixture
def own(tmp_path: Path) -> list[str]:
    """Options for a retrieval set from files."""
    queries, corpus = write(tmp_path / "mine.jsonl", QUERIES), write(tmp_path / "corpus.jsonl", CORPUS)
    return ["--retrieval", queries, "--corpus", corpus]


def test_retrieval_measures_every_combination(run: Run, own: list[str], dispatcher: FakeDispatcher) -> None:
    lines = records(run("eval", *own, "--json"))
    assert [(line["set"], line["way"], line["items"]) for line in lines] == [
        ("mine.jsonl", "embedder", 2),
        ("mine.jsonl", "embedder, int8", 2),
        ("mine.jsonl", "embedder, binary", 2),
        ("mine.jsonl", "embedder → reranker", 2),
        ("mine.jsonl", "embedder + reranker", 2),
    ]
    for line in lines:
        assert (line["nDCG@10"], line["MRR"], line["MAP"]) == (1.0, 1.0, 1.0)
        assert line.keys() >= TIMES
        assert all(line[name] > 0 for name in TIMES)
    embedded = [request for request in dispatcher.requests if isinstance(request, EmbedRequest)]
    assert {(request.input_type, len(request.texts)) for request in embedded} == {("query", 1), ("document", 3)}


def test_a_text_without_a_vector_is_like_no_other(run: Run, own: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def without_bread(text: str) -> Any:
        return vector_of(text) * (text != CORPUS[0]["text"])

    monkeypatch.setattr("tests.support.dispatcher.vector_of", without_bread)
    embedder, *_ = records(run("eval", *own, "--json"))
    assert 1 / 3 < embedder["MRR"] < 1


def test_the_time_of_an_item_counts_what_every_request_held(
    run: Run, own: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trivet.evaluation.measure._Clock.latency", lambda clock: Latency(0, 0, clock.items))
    items = {line["way"]: line["item_ms"] for line in records(run("eval", *own, "--json"))}
    assert items["embedder"] == len(CORPUS) + len(QUERIES)
    assert items["embedder → reranker"] == len(QUERIES) * (1 + len(CORPUS))


def test_the_reranker_decides_among_what_the_embedder_found(
    run: Run, tmp_path: Path, dispatcher: FakeDispatcher
) -> None:
    corpus = write(tmp_path / "c", [{"id": "far", "text": "x"}, {"id": "near", "text": "send it"}])
    queries = write(tmp_path / "q", [{"query": "send it", "relevant": ["far"]}])
    lines = records(run("eval", "--retrieval", queries, "--corpus", corpus, "--depth", "1", "--json"))
    assert [line["MRR"] for line in lines] == [0.5] * 5
    reranked = [request for request in dispatcher.requests if isinstance(request, RerankRequest)]
    assert reranked[-1].documents == ("send it",)


def test_both_orders_fused_can_be_right_where_either_alone_is_not(run: Run, tmp_path: Path) -> None:
    # Cosines .73, .64 and .70: first, third and second. Scores .50, .73 and .73: third and twice first.
    corpus = [{"id": str(at), "text": text} for at, text in enumerate(["it", "send it over here", "send it again now"])]
    queries = [{"query": "send it", "relevant": ["2"]}]
    options = ["--retrieval", write(tmp_path / "q", queries), "--corpus", write(tmp_path / "c", corpus)]
    lines = records(run("eval", *options, "--json"))
    assert [(line["way"], line["MRR"]) for line in lines if "," not in line["way"]] == [
        ("embedder", 0.5),
        ("embedder → reranker", 0.5),
        ("embedder + reranker", 1.0),
    ]


def test_a_set_whose_file_name_is_not_utf8(run: Run, tmp_path: Path) -> None:
    rows = [{"query": "send again", "documents": ["bake", "send it again"], "relevant": [1]}]
    name = write(tmp_path / os.fsdecode(b"caf\xe9"), rows)
    assert {line["set"] for line in records(run("eval", "--rerank", name, "--json"))} == {r"caf\xe9"}


def test_candidates_from_a_file(run: Run, tmp_path: Path) -> None:
    rows = [{"query": "send again", "documents": ["bake", "tree", "send it again"], "relevant": [2]}]
    lines = records(run("eval", "--rerank", write(tmp_path / "r.jsonl", rows), "--json"))
    assert [line["way"] for line in lines] == ["embedder", "reranker"]
    assert [line["MRR"] for line in lines] == [1.0, 1.0]
    # Logits -1, -1 and 1 give scores of 0.27, 0.27 and 0.73 for documents that are irrelevant, irrelevant and relevant.
    assert lines[1]["ECE"] == pytest.approx(0.2689, abs=1e-3)
    assert "ECE" not in lines[0]


def test_pairs_and_hypotheses_from_files(run: Run, tmp_path: Path, dispatcher: FakeDispatcher) -> None:
    rows = [
        {"source": "sports today", "target": "x", "relation": "sport"},
        {"source": "food today", "target": "x", "relation": "food"},
        {"source": "food food", "target": "x", "relation": "sport"},
    ]
    pairs = write(tmp_path / "p.jsonl", rows)
    [line] = records(run("eval", "--pairs", pairs, "-r", "sport=sports news", "-r", "food=food news", "--json"))
    assert (line["way"], line["items"]) == ("classifier", 3)
    assert line["accuracy"] == pytest.approx(2 / 3)
    assert line["macro-F1"] == pytest.approx(2 / 3)
    asked = [request for request in dispatcher.requests if isinstance(request, ClassifyRequest)]
    assert len(asked) == 4  # one of them untimed
    assert asked[0].hypotheses == {"sport": "sports news", "food": "food news"}


def test_texts_with_their_labels(run: Run, tmp_path: Path) -> None:
    rows = [{"text": "it is sport.", "label": "sport"}, {"text": "so is food.", "label": "food"}]
    [line] = records(run("eval", "--texts", write(tmp_path / "t.jsonl", rows), "--json"))
    assert (line["accuracy"], line["macro-F1"]) == (1.0, 1.0)


@pytest.mark.slow
def test_the_bundled_sets_are_the_default(run: Run) -> None:
    lines = records(run("eval", "--limit", "4", "--json"))
    assert [(line["set"], line["way"]) for line in lines] == [
        ("answers", "embedder"),
        ("answers", "embedder, int8"),
        ("answers", "embedder, binary"),
        ("answers", "embedder → reranker"),
        ("answers", "embedder + reranker"),
        ("relations", "classifier"),
        ("topics", "classifier"),
    ]
    assert {line["items"] for line in lines} == {4}


def test_servers_are_compared_row_by_row(run: Run, own: list[str], url: str) -> None:
    result = run("eval", *own, "--url", url, "--url", url + "/")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if "mine.jsonl" in line]
    assert [(row[0], row[2].rstrip(",")) for row in rows] == [(url, "embedder"), (f"{url}/", "embedder")] * 5
    assert "nDCG@10" in result.stdout
    assert "accuracy" not in result.stdout
    assert "tests/fake-reranker" in result.stderr


def test_a_narrow_console_truncates_no_figure(run: Run, own: list[str]) -> None:
    result = run("eval", *own, columns=20)
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["set", "models", "items", "nDCG@10", "MRR", "MAP", "p50", "ms", "p95", "ms", "ms/item"] in rows
    assert ["mine.jsonl", "embedder", "2", "1.000", "1.000", "1.000"] in [row[:6] for row in rows]


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="needs the extra `eval`")
def test_the_plot_shows_each_set_and_combination(run: Run, own: list[str], tmp_path: Path) -> None:
    assert run("eval", *own, "--set", "topics", "--limit", "8", "--plot", "out.svg").exit_code == 0
    picture = (tmp_path / "out.svg").read_text()
    for text in ("mine.jsonl (2)", "topics (8)", "server: embedder → reranker", "server: classifier", "macro-F1"):
        assert f"<!-- {text} -->" in picture


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "nonsense"], "'nonsense' is not one of answers, relations, topics"),
        (["--retrieval", "q"], "--retrieval and --corpus must be given together"),
        (["--relation", "a=b"], "--relation requires --pairs"),
        (["--plot", "picture.bmp"], "does not end in .svg, .png or .pdf"),
        (["--config", "absent.yaml"], "there is no file absent.yaml"),
        (["--url", "localhost"], "is not a URL"),
        (["--pairs", "absent"], "absent: No such file"),
        (["--texts", "bad"], "bad:2: label: Field required"),
    ],
)
def test_a_wrong_command_line_ends_with_2(run: Run, tmp_path: Path, options: list[str], message: str) -> None:
    (tmp_path / "bad").write_text('{"text": "x", "label": "a"}\n{"text": "y"}\n')
    result = run("eval", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.replace("│", " ").split())


def test_a_relation_that_the_server_does_not_know(run: Run, tmp_path: Path) -> None:
    pairs = write(tmp_path / "p.jsonl", [{"source": "a", "target": "b", "relation": "cousin"}])
    result = run("eval", "--pairs", pairs)
    assert result.exit_code == 1
    assert "knows no relation 'cousin', only dependency, expansion, contradiction, unrelated" in result.stderr


@pytest.mark.slow
def test_no_server(run: Run, own: list[str]) -> None:
    with closed_port() as nowhere:
        result = run("eval", *own, "--timeout", "1", server=nowhere)
    assert result.exit_code == 1
    assert "nothing answers at" in result.stderr
