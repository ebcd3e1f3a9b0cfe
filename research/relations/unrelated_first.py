"""From which score of "unrelated", read alone, two texts need no further reading.

Trivet reads the hypothesis of the absent relation first, and the others only below a score (`clear_unrelated` in the
classifier's card). The score depends on the weights: `python -m research.relations.unrelated_first` measures it in a
minute or two, and `--write` puts it into the card. Each half of the pairs has to agree, since few pairs decide it.

- agreement: of the pairs above the score, those that all relations together call unrelated;
- lost: of the pairs whose relation the classifier finds, those above the score, which are not found any more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from research.relations.evaluate import TEST
from research.relations.metrics import softmax
from research.relations.pairs import LABELS, Pair, read_pairs
from research.training.export import write_card
from trivet.config import DEFAULT_RELATIONS, AppConfig
from trivet.engine.engine import Engine
from trivet.engine.open import open_cpu_engine
from trivet.messages import ClassifyRequest, PairText
from trivet.starter.card import read_card

SHIPPED = Path("trivet/starter/classifier")
UNRELATED = LABELS.index("unrelated")
AGREEMENT = 0.99
"""Least share of the pairs above the score on which both readings agree."""
STEPS = np.round(np.arange(0.5, 1.0, 0.01), 2)
PAIRS = 1500
"""Read to pick the score: the first by id, which is a hash."""
_PAIRS_AT_A_TIME = 32


@dataclass(frozen=True, slots=True)
class Readings:
    """What the classifier says about pairs."""

    gold: np.ndarray
    """(N,) positions in LABELS."""
    logits: np.ndarray
    """(N, 4) entailment logits in the order of LABELS."""
    alone: np.ndarray
    """(N,) scores of "unrelated" read alone."""

    def some(self, start: int) -> Readings:
        """Every second pair."""
        return Readings(self.gold[start::2], self.logits[start::2], self.alone[start::2])


def figures(readings: Readings, score: float) -> dict[str, float]:
    """What a score does; `tokens` as a share of those of all relations, of which the first reading takes a quarter."""
    predicted = readings.logits.argmax(axis=1)
    above = readings.alone >= score
    found = (predicted == readings.gold) & (readings.gold != UNRELATED)
    return {
        "above": round(float(above.mean()), 4),
        "agreement": round(float((predicted[above] == UNRELATED).mean()), 4) if above.any() else 1.0,
        "lost": round(float(above[found].mean()), 4) if found.any() else 0.0,
        "tokens": round(float(1 - above.mean() * (len(LABELS) - 1) / len(LABELS)), 4),
    }


def pick(readings: Readings) -> float:
    """The least score from which on the readings agree in both halves of the pairs; 1 if there is none."""
    halves = readings.some(0), readings.some(1)
    agreeing = [min(figures(half, float(score))["agreement"] for half in halves) >= AGREEMENT for score in STEPS]
    last_below = max((at for at, agrees in enumerate(agreeing) if not agrees), default=-1)
    return float(STEPS[last_below + 1]) if last_below + 1 < len(STEPS) else 1.0


def with_first_reading(readings: Readings, score: float) -> np.ndarray:
    """The shares, (N, 4), as the library gives them: those of a pair above the score are of "unrelated" alone."""
    shares = softmax(readings.logits)
    above = readings.alone >= score
    shares[above] = 0.0
    shares[above, UNRELATED] = readings.alone[above]
    return shares


async def read(engine: Engine, pairs: Sequence[Pair]) -> Readings:
    """Ask all relations, each by itself, which gives their logits, too."""
    alone, logits = [], []
    hypotheses = {label: DEFAULT_RELATIONS[label] for label in LABELS}
    for start in range(0, len(pairs), _PAIRS_AT_A_TIME):
        some = tuple(PairText(pair.first, pair.second) for pair in pairs[start : start + _PAIRS_AT_A_TIME])
        result = await engine.run(ClassifyRequest(some, hypotheses, multi_label=True))
        alone.append(result.scores[:, UNRELATED])
        logits.append(result.logits)
    gold = np.array([LABELS.index(pair.label) for pair in pairs])
    return Readings(gold, np.concatenate(logits), np.concatenate(alone))


def read_shipped(pairs: Sequence[Pair]) -> Readings:
    """What the shipped weights say, read by the library's own engine."""
    return asyncio.run(_measured(pairs))


def write(score: float) -> None:
    """Put a score into the shipped card; 1 means that no score is safe, and the card states none."""
    card = read_card(SHIPPED / "model.json")
    write_card(card.model_copy(update={"clear_unrelated": score if score < 1 else None}), SHIPPED)


async def _measured(pairs: Sequence[Pair]) -> Readings:
    engine = open_cpu_engine(AppConfig(), "classifier")
    engine.start()
    try:
        return await read(engine, pairs)
    finally:
        await engine.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=TEST)
    parser.add_argument("--limit", type=int, default=PAIRS, help="read only this many pairs (the first by id, a hash)")
    parser.add_argument("--write", action="store_true", help=f"put the score into the card in {SHIPPED}")
    args = parser.parse_args()
    readings = read_shipped(read_pairs(args.pairs)[: args.limit])
    score = pick(readings)
    for shown in sorted({0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, score}):
        print(json.dumps({"score": shown} | figures(readings, shown)))
    shares = {"at once": softmax(readings.logits), "unrelated first": with_first_reading(readings, score)}
    accuracy = {name: round(float((one.argmax(axis=1) == readings.gold).mean()), 4) for name, one in shares.items()}
    print(json.dumps({"picked": score, "pairs": len(readings.gold), "accuracy": accuracy}))
    if args.write:
        write(score)


if __name__ == "__main__":
    main()
