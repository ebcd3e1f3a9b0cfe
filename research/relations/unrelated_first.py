"""From which score of "unrelated", read alone, two texts need no further reading.

Trivet reads the hypothesis of the absent relation first, and the others only below a score (`clear_unrelated` in the
classifier's card). The score depends on the weights: `python -m research.relations.unrelated_first` measures it in a
minute or two, and `--write` puts it into the card. At most two edges in a thousand may be lost by it, and since few
pairs decide it, it is `MARGIN` above the highest score of the others.

- agreement: of the pairs above the score, those that all relations together call unrelated;
- lost: of the edges, those above the score: pairs with another relation's share of at least the threshold.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
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
MOST_LOST = 0.002
"""Of the edges."""
MARGIN = 0.05
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


def edges(readings: Readings, threshold: float) -> np.ndarray:
    """Which pairs another relation than "unrelated" wins with at least this share: (N,)"""
    shares = softmax(readings.logits)
    return (shares.argmax(axis=1) != UNRELATED) & (shares.max(axis=1) >= threshold)


def figures(readings: Readings, score: float, threshold: float) -> dict[str, float]:
    """What a score does; `tokens` as a share of those of all relations, of which the first reading takes a quarter."""
    predicted = readings.logits.argmax(axis=1)
    above = readings.alone >= score
    found = edges(readings, threshold)
    return {
        "above": round(float(above.mean()), 4),
        "agreement": round(float((predicted[above] == UNRELATED).mean()), 4) if above.any() else 1.0,
        "lost": round(float(above[found].mean()), 4) if found.any() else 0.0,
        "tokens": round(float(1 - above.mean() * (len(LABELS) - 1) / len(LABELS)), 4),
    }


def pick(readings: Readings, threshold: float) -> float:
    """The least score, in hundredths, that is `MARGIN` above that of all edges but `MOST_LOST`; 1 without edges."""
    of_edges = np.sort(readings.alone[edges(readings, threshold)])
    if not len(of_edges):
        return 1.0
    highest_kept = of_edges[len(of_edges) - 1 - int(MOST_LOST * len(of_edges))]
    return min(1.0, math.ceil(round(float(highest_kept) + MARGIN, 6) * 100) / 100)


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
    threshold = read_card(SHIPPED / "model.json").threshold
    score = pick(readings, threshold)
    for shown in sorted({0.5, 0.6, 0.7, 0.8, 0.9, 0.95, score}):
        print(json.dumps({"score": shown} | figures(readings, shown, threshold)))
    shares = {"at once": softmax(readings.logits), "unrelated first": with_first_reading(readings, score)}
    accuracy = {name: round(float((one.argmax(axis=1) == readings.gold).mean()), 4) for name, one in shares.items()}
    print(json.dumps({"picked": score, "pairs": len(readings.gold), "accuracy": accuracy}))
    if args.write:
        write(score)


if __name__ == "__main__":
    main()
