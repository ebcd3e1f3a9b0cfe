"""The starter classifier on texts longer than a sentence: their topic does not get lost with their length."""

from itertools import combinations
from pathlib import Path

import pytest

from tests.engine.conftest import Engines
from tests.support.program_notes import PROGRAM_NOTES
from trivet.config import DEFAULT_RELATIONS
from trivet.messages import ClassifyRequest, ClassifyResult, PairText
from trivet.starter import shipped_card

pytestmark = pytest.mark.slow

TEMPLATE = "This example is {}."
FOOTBALL = (
    "The home side won the match with two late goals after the striker came off the bench. The coach praised the "
    "defence, which had held the league leaders for an hour, and the fans sang until the stadium closed."
)
SECURITY_PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def scores(
    ask: Engines, checkpoints: dict[str, Path], text: str, labels: tuple[str, ...], *, multi_label: bool = False
) -> dict[str, float]:
    hypotheses = {label: TEMPLATE.format(label) for label in labels}
    request = ClassifyRequest((PairText(text),), hypotheses, multi_label=multi_label)
    result = ask("classifier", checkpoints["starter-classifier"], request, precision="bf16")
    assert isinstance(result, ClassifyResult)
    return dict(zip(labels, result.scores[0].tolist(), strict=True))


@pytest.mark.parametrize("times", [1, 2, 4, 6, 8, 16, 48])
def test_a_text_on_football_is_on_sports_at_every_length(
    ask: Engines, checkpoints: dict[str, Path], times: int
) -> None:
    found = scores(ask, checkpoints, " ".join([FOOTBALL] * times), ("sports", "cooking", "finance"))
    assert found["sports"] > 0.8, found


def test_a_page_on_security_is_on_security_alone(ask: Engines, checkpoints: dict[str, Path]) -> None:
    page = SECURITY_PAGE.read_text(encoding="utf-8")
    found = scores(ask, checkpoints, page, ("security", "cooking", "sports"), multi_label=True)
    assert found["security"] > 5 * max(found["cooking"], found["sports"]), found
    assert max(found["cooking"], found["sports"]) < 0.1, found


def test_notes_on_different_parts_of_a_program_do_not_contradict_each_other(
    ask: Engines, checkpoints: dict[str, Path]
) -> None:
    pairs = tuple(PairText(first, second) for first, second in combinations(PROGRAM_NOTES, 2))
    result = ask("classifier", checkpoints["starter-classifier"], ClassifyRequest(pairs, DEFAULT_RELATIONS))
    assert isinstance(result, ClassifyResult)
    contradiction = list(DEFAULT_RELATIONS).index("contradiction")
    sure = result.scores[:, contradiction] >= shipped_card("classifier").threshold
    assert not sure.any(), [pairs[i] for i in sure.nonzero()[0]]
