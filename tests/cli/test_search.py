"""`trivet search`: the passages of an index that answer a question, with their places."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run, records
from tests.support.dispatcher import FakeDispatcher
from tests.support.serving import served
from trivet.api.app import create_app
from trivet.api.settings import ApiSettings
from trivet.dispatch.blending import Blend
from trivet.folders.searching import candidates_for
from trivet.messages import EmbedRequest, ModelCard, RerankRequest


@pytest.fixture
def notes(run: Run, tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs" / "retry.md").write_text("# Retrying\n\nWait longer after every failed attempt\n")
    (folder / "docs" / "bread.md").write_text("# Bread\n\nTwo cups of flour and a pinch of salt\n")
    (folder / "area.py").write_text(
        "def area(r):\n" + "".join(f"    # line {n}\n" for n in range(20)) + "    return r\n"
    )
    assert run("index", "notes").exit_code == 0
    return folder


def test_a_question_finds_passages_with_their_lines(run: Run, notes: Path, dispatcher: FakeDispatcher) -> None:
    result = run("search", "notes", "wait after a failed attempt", "-k", "2")
    assert result.exit_code == 0, result.output
    first = result.stdout.splitlines()
    assert first[0].startswith("notes/docs/retry.md:1-3  0.")
    assert first[1:4] == ["     1  # Retrying", "     2  ", "     3  Wait longer after every failed attempt"]
    assert "2 passages of 3 candidates" in result.stderr
    embedding, reranking = dispatcher.requests[-2:]
    assert isinstance(embedding, EmbedRequest)
    assert (embedding.input_type, embedding.priority) == ("query", "interactive")
    assert isinstance(reranking, RerankRequest)


def test_files_that_have_changed_since_are_named(run: Run, notes: Path) -> None:
    assert "changed since" not in run("search", "notes", "flour and salt").stderr
    (notes / "docs" / "bread.md").write_text("# Moved\n\n\n\n# Bread\n\nTwo cups of flour and a pinch of salt\n")
    (notes / "docs" / "retry.md").unlink()
    for index in ("notes", "notes/.trivet/index.sqlite"):
        said = run("search", index, "flour and salt").stderr
        assert said.count("changed since it was indexed: ") == 2
        assert "docs/bread.md; `trivet index` brings the index up to date" in said
        assert "area.py" not in said
    assert "changed since" not in run("search", "notes", "area", "--path", "area.py").stderr


@pytest.mark.slow
def test_a_blended_score_embeds_the_question_alone(run: Run, notes: Path) -> None:
    dispatcher = FakeDispatcher()
    with served(create_app(dispatcher, ApiSettings(blend=Blend(cosine_weight=11)))) as url:
        assert run("search", "notes", "salt", server=url).exit_code == 0
    assert [type(request) for request in dispatcher.requests] == [EmbedRequest, RerankRequest]


def test_an_instruction_goes_to_the_embedder(run: Run, notes: Path, dispatcher: FakeDispatcher) -> None:
    assert run("search", "notes", "salt", "--instruction", "find recipes", "--no-rerank").exit_code == 0
    assert run("embed", "notes/area.py", "--instruction", "find recipes").exit_code == 0
    last = [request for request in dispatcher.requests if isinstance(request, EmbedRequest)][-2:]
    assert [request.instruction for request in last] == ["find recipes"] * 2


def test_long_passages_are_shortened_unless_they_are_wanted_whole(run: Run, notes: Path) -> None:
    short = run("search", "notes", "def area(r):", "--path", "*.py").stdout
    assert "… 14 more lines" in short
    assert "line 19" not in short
    assert "line 19" in run("search", "notes", "def area(r):", "--path", "*.py", "--full").stdout


def test_copies_count_as_one_answer_and_are_named(run: Run, tmp_path: Path, dispatcher: FakeDispatcher) -> None:
    advice = "# Retrying\n\nWait longer after every failed attempt\n"
    for number in range(40):  # more than the candidates of one result
        (tmp_path / "notes" / f"copy{number:02}").mkdir(parents=True)
        (tmp_path / "notes" / f"copy{number:02}" / "retry.md").write_text(advice)
    (tmp_path / "notes" / "again.md").write_text("Wait after the last attempt\n")
    assert run("index", "notes").exit_code == 0
    result = run("search", "notes", "wait longer after every failed attempt", "-k", "2")
    assert result.stdout.count("also in notes/copy01/retry.md:1-3, ") == 1
    assert "and 36 more" in result.stdout
    assert "2 passages of 2 candidates" in result.stderr
    reranking = dispatcher.requests[-1]
    assert isinstance(reranking, RerankRequest)
    assert len(reranking.documents) == 2
    for options in ([], ["--no-rerank"]):
        first, second = records(run("search", "notes", "wait after every attempt", "-k", "2", "--json", *options))
        assert {first["path"], second["path"]} == {"notes/copy00/retry.md", "notes/again.md"}
        copied = first if first["copies"] else second
        assert copied["copies"][0] == {"path": "notes/copy01/retry.md", "start_line": 1, "end_line": 3}
        assert len(copied["copies"]) == 39


def test_json_has_the_whole_passages(run: Run, notes: Path) -> None:
    [found] = records(run("search", "notes/.trivet/index.sqlite", "def area(r):", "--path", "*.py", "--json"))
    assert list(found) == ["path", "start_line", "end_line", "title", "kind", "score", "similarity", "text", "copies"]
    assert (found["path"], found["start_line"], found["end_line"]) == ("area.py", 1, 22)
    assert found["text"] == (notes / "area.py").read_text().rstrip("\n")


def test_a_pattern_limits_the_search(run: Run, notes: Path) -> None:
    def found(pattern: str) -> list[str]:
        return [line["path"] for line in records(run("search", "notes", "salt", "--json", "--path", pattern))]

    assert sorted(found("docs/")) == ["notes/docs/bread.md", "notes/docs/retry.md"]
    assert found("*.py") == ["notes/area.py"]
    assert found("nothing") == []
    result = run("search", "notes", "salt", "--path", "[")
    assert result.exit_code == 2
    assert "no path can match" in result.stderr


class Contrary(FakeDispatcher):
    """Its reranker prefers what shares no word with the query."""

    async def call(self, request: Any) -> Any:
        routed = await super().call(request)
        if isinstance(request, RerankRequest):
            object.__setattr__(routed.result, "logits", -routed.result.logits)
            object.__setattr__(routed.result, "scores", 1 - routed.result.scores)
        return routed


def test_the_reranker_orders_what_the_embedder_finds(run: Run, notes: Path) -> None:
    with served(create_app(Contrary(), ApiSettings())) as url:
        question = "flour and salt"
        last = records(run("search", "notes", question, "--json", server=url))[-1]
        assert last["path"] == "notes/docs/bread.md"
        similar = records(run("search", "notes", question, "--json", "--no-rerank", server=url))
        assert similar[0]["path"] == "notes/docs/bread.md"
        assert [one["score"] for one in similar] == [one["similarity"] for one in similar]


def test_more_candidates_than_results_are_reranked() -> None:
    assert [candidates_for(k) for k in (1, 10, 50, 200)] == [24, 30, 150, 256]
    assert candidates_for(300) == 300


class Upgraded(FakeDispatcher):
    """Serves another revision of the embedder."""

    async def models(self) -> list[ModelCard]:
        cards = list(await super().models())
        cards[0] = ModelCard("embedder", cards[0].name, "r9", 256, dimensions=64, precision="fp32")
        return cards


def test_vectors_of_another_model_are_not_compared(run: Run, notes: Path) -> None:
    with served(create_app(Upgraded(), ApiSettings())) as url:
        result = run("search", "notes", "salt", server=url)
    assert result.exit_code == 1
    assert "revision r1" in result.stderr
    assert "revision r9" in result.stderr


def test_what_is_not_there_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run("search", "empty", "salt")
    assert result.exit_code == 1
    assert "`trivet index empty` makes an index" in result.stderr
    (tmp_path / "notes.txt").write_text("salt")
    result = run("search", "notes.txt", "salt")
    assert result.exit_code == 1
    assert "is not an index" in result.stderr
    assert run("search", "empty", " ").exit_code == 2


@pytest.mark.slow
@pytest.mark.parametrize(("form", "embeddings"), [("int8", 1), ("binary", 3)])
def test_smaller_vectors_find_the_same_and_only_cosines_of_vectors_are_blended(
    run: Run, notes: Path, form: str, embeddings: int
) -> None:
    assert run("index", "notes", "--out", "small.trivet", "--vectors", form).exit_code == 0
    dispatcher = FakeDispatcher()
    with served(create_app(dispatcher, ApiSettings(blend=Blend(cosine_weight=11)))) as url:
        result = run("search", "small.trivet", "flour and salt", "--json", server=url)
    assert json.loads(result.stdout.splitlines()[0])["path"] == "docs/bread.md"
    # What compares signs gives no cosines, so the blend embeds the question and the passages.
    assert sum(isinstance(request, EmbedRequest) for request in dispatcher.requests) == embeddings


def test_fewer_dimensions_are_searched_with_as_many(run: Run, notes: Path) -> None:
    assert run("index", "notes", "--out", "small.trivet", "--dimensions", "8").exit_code == 0
    result = run("search", "small.trivet", "flour and salt", "--json")
    assert json.loads(result.stdout.splitlines()[0])["path"] == "docs/bread.md"
