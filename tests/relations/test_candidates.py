"""Which pairs of documents are proven, and which are read."""

import numpy as np

from trivet.messages import Floats
from trivet.relations.candidates import Budget, Candidates, candidates
from trivet.relations.division import Document, divide
from trivet.relations.links import IMPORT_CONFIDENCE

BUDGET = Budget(neighbours=8, passage_pairs=3, linked=10, similar=2)

AREA = Document("from circle import ratio_of\n\nratio_of()\n", "area.py")
CIRCLE = Document("def ratio_of():\n    pass\n", "circle.py")
GUIDE = Document("Call `ratio_of` first.", "guide.md")
NOTE = Document("Circles are round.", "note.md")


def chosen(
    *documents: Document, vectors: Floats | None = None, budget: Budget = BUDGET, link: str | None = "uses"
) -> Candidates:
    passages = [divide(document, 200) for document in documents]
    count = sum(map(len, passages))
    return candidates(
        documents, passages, np.eye(count, dtype=np.float32) if vectors is None else vectors, budget, link
    )


def test_an_import_is_proven_and_not_read() -> None:
    found = chosen(CIRCLE, AREA)
    (claim,) = found.proven[0, 1]
    assert (claim.documents, claim.relation, claim.directed) == ((1, 0), "uses", True)
    assert (claim.confidence, claim.relevance, claim.source.text) == (IMPORT_CONFIDENCE, None, AREA.text)
    assert found.unproven == {}


def test_links_prove_nothing_about_the_callers_relations() -> None:
    found = chosen(CIRCLE, AREA, link=None)
    assert found.proven == {}
    (pair,) = found.unproven[0, 1]
    assert (pair.first, pair.second, pair.directed, pair.relation) == (1, 0, True, None)


def test_prose_is_read_by_its_names_and_by_its_neighbours() -> None:
    found = chosen(CIRCLE, GUIDE, NOTE)
    assert found.proven == {}
    assert [(pair.first, pair.second, pair.directed) for pair in found.unproven[0, 1]] == [(1, 0, True)]
    assert [(pair.first, pair.second, pair.directed) for pair in found.unproven[1, 2]] == [(1, 2, False)]


def test_a_document_has_a_number_of_neighbours() -> None:
    notes = [Document(f"Note {number}.", f"{number}.md") for number in range(6)]
    angles = np.array([0.0, 0.1, 0.25, 1.0, 1.1, 1.25])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert set(chosen(*notes, vectors=vectors).unproven) == {(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)}
