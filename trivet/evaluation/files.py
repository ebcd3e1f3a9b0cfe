"""Reads labelled sets from JSON lines; an error names the file, the line and the field.

    corpus      {"id": "a1", "text": "…"}
    retrieval   {"query": "…", "relevant": ["a1", …]}             with a corpus
    rerank      {"query": "…", "documents": ["…", …], "relevant": [0, …]}
    pairs       {"source": "…", "target": "…", "relation": "…"}
    texts       {"text": "…", "label": "…"}

Other fields of a line are ignored, so that they can hold notes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trivet.evaluation.sets import (
    LabelledPair,
    LabelledText,
    PairSet,
    RerankQuery,
    RerankSet,
    RetrievalQuery,
    RetrievalSet,
    TextSet,
)


class BadSet(Exception):
    """The file is not a valid labelled set; the message names the file, the line and the field."""


Text = Annotated[str, Field(min_length=1)]


class Row(BaseModel):
    """A line of a file of JSON lines; fields that it does not have are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class _DocumentRow(Row):
    id: Text
    text: Text


class _RetrievalRow(Row):
    query: Text
    relevant: Annotated[list[str], Field(min_length=1)]


class _RerankRow(Row):
    query: Text
    documents: Annotated[list[Text], Field(min_length=1)]
    relevant: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)]


class _PairRow(Row):
    source: Text
    target: Text
    relation: Text


class _TextRow(Row):
    text: Text
    label: Text


RowT = TypeVar("RowT", bound=Row)


def read_retrieval(queries: Path, corpus: Path, *, name: str, limit: int | None = None) -> RetrievalSet:
    """Read queries over a corpus. `limit` applies to the queries only. Raises BadSet if either file is invalid."""
    positions: dict[str, int] = {}
    texts: list[str] = []
    for line, document in rows_of(corpus, _DocumentRow, None):
        if document.id in positions:
            _refuse(corpus, line, "id", f"{document.id!r} occurs twice")
        positions[document.id] = len(texts)
        texts.append(document.text)
    found: list[RetrievalQuery] = []
    for line, row in rows_of(queries, _RetrievalRow, limit):
        for number, key in enumerate(row.relevant):
            if key not in positions:
                _refuse(queries, line, f"relevant.{number}", f"{corpus} has no document with the id {key!r}")
        found.append(RetrievalQuery(row.query, frozenset(positions[key] for key in row.relevant)))
    return RetrievalSet(name, tuple(texts), tuple(found))


def read_rerank(path: Path, *, name: str, limit: int | None = None) -> RerankSet:
    """Read queries with candidates. Raises BadSet if the file is invalid."""
    found: list[RerankQuery] = []
    for line, row in rows_of(path, _RerankRow, limit):
        for number, position in enumerate(row.relevant):
            if position >= len(row.documents):
                last = len(row.documents) - 1
                _refuse(path, line, f"relevant.{number}", f"{position} is not a position from 0 to {last}")
        found.append(RerankQuery(row.query, tuple(row.documents), frozenset(row.relevant)))
    return RerankSet(name, tuple(found))


def read_pairs(
    path: Path, *, name: str, relations: Mapping[str, str] | None = None, limit: int | None = None
) -> PairSet:
    """Read labelled pairs. Raises BadSet if the file is invalid or has a relation that is not in `relations`."""
    found: list[LabelledPair] = []
    for line, row in rows_of(path, _PairRow, limit):
        if relations is not None and row.relation not in relations:
            _refuse(path, line, "relation", f"{row.relation!r} is not one of {', '.join(relations)}")
        found.append(LabelledPair(row.source, row.target, row.relation))
    return PairSet(name, tuple(found), relations)


def read_texts(path: Path, *, name: str, limit: int | None = None) -> TextSet:
    """Read labelled texts. Raises BadSet if the file is invalid or has fewer than two labels.

    `limit` applies to the texts only: fewer labels to choose from would make the task easier.
    """
    every = [LabelledText(row.text, row.label) for _, row in rows_of(path, _TextRow, None)]
    labels = tuple(sorted({one.label for one in every}))
    if len(labels) < 2:
        raise BadSet(f"{path}: label: all texts have the same label; at least two labels are needed")
    return TextSet(name, tuple(every[:limit]), labels)


def rows_of(path: Path, kind: type[RowT], limit: int | None) -> Iterator[tuple[int, RowT]]:
    """Yield (line number from 1, row). Validates all rows, but yields at most `limit`.

    Raises:
        BadSet: the file cannot be read, or has no row or an invalid one.
    """
    given = 0
    for number, line in lines_of(path):
        try:
            row = kind.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            _refuse(path, number, ".".join(map(str, first["loc"])), first["msg"])
        if limit is None or given < limit:
            given += 1
            yield number, row
    if not given:
        raise BadSet(f"{path}: no rows")


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line) of each line of a UTF-8 file that is not blank. Only a line feed ends a line.

    Raises:
        BadSet: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise BadSet(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error
    except OSError as error:
        raise BadSet(f"{path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line


def _refuse(path: Path, line: int, field: str, problem: str) -> NoReturn:
    raise BadSet(f"{path}:{line}: {field + ': ' if field else ''}{problem}")
