"""What is nearest is found, exactly, in all of the index or below a folder, while a writer works on it."""

import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tests.index.support import MODEL, axis, make, put
from trivet.index import IndexModel, IndexReader, IndexWriter
from trivet.index.forms import StoredForm, Vectors, VectorTable, packed_vectors, stored_rows, unit_vectors
from trivet.index.nearest import best_pairs, top_rows


@pytest.fixture
def index(tmp_path: Path) -> Path:
    path = tmp_path / "x.trivet"
    make(
        path,
        {
            "a.py": [axis(0), axis(0, 1)],
            "docs/a.md": [axis(1)],
            "docs/deep/b.md": [axis(1, 2), axis(3)],
            "docs.md": [axis(4)],
            "docs-old/c.md": [axis(1, 5)],
            "empty.txt": [],
        },
    )
    return path


def places(reader: IndexReader, vector: np.ndarray, k: int = 3, path: str | None = None) -> list[str]:
    return [f"{hit.path}:{hit.passage.first_line}" for hit in reader.search(vector, k, path)]


def test_the_nearest_passages_come_first_with_their_places_and_texts(index: Path) -> None:
    with IndexReader(index, MODEL) as reader:
        first, second = reader.search(axis(0) * 7, 2)
        assert (first.path, first.text, first.passage.title) == ("a.py", "a.py:1", "line 1")
        assert first.score == pytest.approx(1, abs=1e-3)
        assert (second.text, second.passage.first_line) == ("a.py:2", 2)
        assert second.score == pytest.approx(2**-0.5, abs=1e-3)


def test_a_folder_or_a_file_may_be_searched_alone(index: Path) -> None:
    with IndexReader(index) as reader:
        assert places(reader, axis(1), 1) == ["docs/a.md:1"]
        assert places(reader, axis(1), 9, "docs") == ["docs/a.md:1", "docs/deep/b.md:1", "docs/deep/b.md:2"]
        assert places(reader, axis(1), 9, "docs/") == places(reader, axis(1), 9, "docs")
        assert places(reader, axis(1), 9, "docs/deep") == ["docs/deep/b.md:1", "docs/deep/b.md:2"]
        assert places(reader, axis(1), 9, "a.py") == ["a.py:2", "a.py:1"]
        assert places(reader, axis(1), 9, "nothing") == []
        assert places(reader, axis(1), 9, "*.py") == ["a.py:2", "a.py:1"]
        assert places(reader, axis(1), 9, "**/b.md") == places(reader, axis(1), 9, "docs/deep")
        assert len(places(reader, axis(1), 99, ".")) == len(places(reader, axis(1), 99)) == 7


def test_files_and_how_many_passages_they_have(index: Path) -> None:
    with IndexReader(index) as reader:
        assert reader.files() == {"a.py": 2, "docs-old/c.md": 1, "docs.md": 1, "docs/a.md": 1, "docs/deep/b.md": 2}


def test_related_files_come_with_the_two_passages_that_are_nearest(index: Path) -> None:
    with IndexReader(index) as reader:
        first, second, third = reader.related("docs/deep/b.md", 3)
        assert [first.path, second.path, third.path] == ["docs/a.md", "a.py", "docs-old/c.md"]
        assert (first.own.text, first.other.text) == ("docs/deep/b.md:1", "docs/a.md:1")
        assert first.score == first.own.score == pytest.approx(2**-0.5, abs=1e-3)
        with pytest.raises(KeyError, match="nowhere"):
            reader.related("nowhere", 3)
        with pytest.raises(KeyError, match="empty"):
            reader.related("empty.txt", 3)


def test_what_cannot_be_asked_is_refused(index: Path) -> None:
    with IndexReader(index) as reader:
        with pytest.raises(ValueError, match=r"the vector has shape \(3,\); the index has 8 dimensions"):
            reader.search(np.ones(3, np.float32), 1)
        with pytest.raises(ValueError, match="k is 0"):
            reader.search(axis(1), 0)
        with pytest.raises(ValueError, match="no path can match"):
            reader.search(axis(1), 1, "[a")
        assert [hit.score for hit in reader.search(np.zeros(8, np.float32), 2)] == [0, 0]


def test_an_empty_index_has_no_hits(tmp_path: Path) -> None:
    make(tmp_path / "x", {})
    with IndexReader(tmp_path / "x") as reader:
        assert reader.search(axis(1), 5) == []
        assert reader.files() == {}


def test_a_search_sees_what_has_been_written_since_the_last_one(index: Path) -> None:
    with IndexReader(index) as reader:
        assert places(reader, axis(7), 1) != ["new.py:1"]
        with IndexWriter(index, MODEL) as writer:
            put(writer, "new.py", "x", [axis(7)])
            assert places(reader, axis(7), 1) == ["new.py:1"]
            writer.remove(["new.py"])
            assert places(reader, axis(7), 1) != ["new.py:1"]


def test_searches_in_threads_beside_a_writer(index: Path) -> None:
    errors: list[BaseException] = []
    with IndexReader(index) as reader:

        def search() -> None:
            try:
                for _ in range(60):
                    hits = reader.search(axis(0), 4)
                    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
                    assert hits[0].text.endswith(":1")
            except BaseException as error:  # noqa: BLE001 - reported by the main thread
                errors.append(error)

        threads = [threading.Thread(target=search) for _ in range(3)]
        for thread in threads:
            thread.start()
        with IndexWriter(index, MODEL) as writer:
            for number in range(60):
                put(writer, f"more/{number % 7}.py", "more:1\nmore:2", [axis(0), axis(number % 8)], str(number))
                if number % 5 == 0:
                    writer.remove([f"more/{number % 7}.py"])
        for thread in threads:
            thread.join()
    assert errors == []


MATRICES = arrays.arrays(np.float32, (24, 4), elements=st.floats(-1, 1, width=32))


def table(matrix: Vectors) -> VectorTable:
    """A table that compares these rows as they are."""
    made = VectorTable.empty("float16", *matrix.shape)
    made.put(0, matrix)
    return made


@pytest.mark.slow
@given(matrix=MATRICES, vector=arrays.arrays(np.float32, 4, elements=st.floats(-1, 1, width=32)), k=st.integers(1, 30))
def test_top_rows_are_those_of_a_full_sort(matrix: np.ndarray, vector: np.ndarray, k: int) -> None:
    for among in (None, np.arange(3, 20)):
        scores = (matrix if among is None else matrix[among]) @ vector
        expected = np.argsort(-scores, kind="stable")[:k]
        first = 0 if among is None else 3
        assert top_rows(table(matrix), vector, k, among) == [(first + int(row), float(scores[row])) for row in expected]


@pytest.mark.slow
@given(matrix=MATRICES, starts=st.sets(st.integers(1, 23)), own=st.integers(0, 23), length=st.integers(1, 24))
def test_best_pairs_are_those_of_all_pairs(matrix: np.ndarray, starts: set[int], own: int, length: int) -> None:
    groups = [0, *sorted(starts)]
    rows = slice(own, min(24, own + length))
    best, mine, theirs = best_pairs(table(matrix), rows, groups)
    every = matrix[rows] @ matrix.T
    for group, (first, stop) in enumerate(zip(groups, [*groups[1:], 24], strict=True)):
        assert best[group] == pytest.approx(float(every[:, first:stop].max()), abs=1e-6)
        assert float(matrix[mine[group]] @ matrix[theirs[group]]) == pytest.approx(float(best[group]), abs=1e-6)
        assert rows.start <= mine[group] < rows.stop
        assert first <= theirs[group] < stop


@pytest.mark.parametrize(("form", "least"), [("float16", 0.99), ("int8", 0.95), ("binary", 0.4)])
def test_smaller_forms_find_what_thirty_two_bits_find(tmp_path: Path, form: StoredForm, least: float) -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((1000, 64)).astype(np.float32)
    queries = vectors[:25] + 0.7 * random.standard_normal((25, 64)).astype(np.float32)
    with IndexWriter(tmp_path / "x", IndexModel("m", "r", 64), form) as writer:
        for at in range(0, 1000, 10):
            put(writer, f"{at:04}", "\n".join("text" for _ in range(10)), list(vectors[at : at + 10]))
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = 0
    with IndexReader(tmp_path / "x") as reader:
        assert reader.form == form
        for query in queries:
            expected = np.argsort(-(units @ query))[:10]
            hits = reader.search(query, 10)
            found += len({int(hit.path) + hit.passage.first_line - 1 for hit in hits} & {int(row) for row in expected})
            assert int(hits[0].path) + hits[0].passage.first_line - 1 == expected[0]
    assert found >= least * 250


@pytest.mark.parametrize("form", ["float16", "int8", "binary"])
def test_a_table_is_compared_in_its_form_whatever_the_blocks(form: StoredForm, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(1)
    vectors = random.standard_normal((50, 16)).astype(np.float32) * random.uniform(1, 9, (50, 1)).astype(np.float32)
    kept = VectorTable.empty(form, 50, 16)
    for at in (0, 20):  # as from two files
        part = vectors[at : at + (20 if at == 0 else 30)]
        kept.put(at, stored_rows(packed_vectors(part, form), form, 16))
    unit = unit_vectors(vectors)
    expected = np.sign(vectors) / 4 if form == "binary" else unit
    np.testing.assert_allclose(kept.units(slice(0, 50)), expected, atol=6e-3 if form == "int8" else 1e-3)
    np.testing.assert_allclose(np.linalg.norm(kept.units(slice(0, 50)), axis=1), 1, atol=1e-3)

    def rows() -> list[list[int]]:
        return [[row for row, _ in top_rows(kept, unit[7], 5, among)] for among in (None, np.arange(3, 40))]

    whole, pairs = rows(), best_pairs(kept, slice(5, 45), [0, 9, 30])
    monkeypatch.setattr("trivet.index.nearest._BLOCK_ROWS", 7)
    assert rows() == whole
    best, mine, theirs = best_pairs(kept, slice(5, 45), [0, 9, 30])
    np.testing.assert_allclose(best, pairs[0], atol=1e-6)
    assert (mine.tolist(), theirs.tolist()) == (pairs[1].tolist(), pairs[2].tolist())


def test_a_vector_of_zeros_is_near_to_nothing_as_int8() -> None:
    kept = VectorTable.empty("int8", 1, 8)
    kept.put(0, stored_rows(packed_vectors(np.zeros((1, 8), np.float32), "int8"), "int8", 8))
    assert top_rows(kept, axis(1), 1) == [(0, 0.0)]
