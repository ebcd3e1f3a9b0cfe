"""Zero-shot topics: `python -m research.topics.evaluate MODEL_DIR` asks each of 100 sentences for one of 8 topics."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

SENTENCES = Path(__file__).parent / "topics.csv"
DEFAULT_TEMPLATE = "This example is about {}."


def read_topics(path: Path = SENTENCES) -> list[tuple[str, str]]:
    """(topic, sentence) rows."""
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["topic"], row["sentence"]) for row in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="directory of a classifier, or `starter`")
    parser.add_argument("--template", default=DEFAULT_TEMPLATE)
    args = parser.parse_args()
    from research.relations.classifier import entailment_logits, load_classifier, starter_dir

    rows = read_topics()
    labels = sorted({topic for topic, _ in rows})
    classifier = load_classifier(starter_dir() if args.model == "starter" else Path(args.model))
    logits = entailment_logits(classifier, [s for _, s in rows], [args.template.format(label) for label in labels])
    predicted = [labels[i] for i in logits.argmax(axis=1)]
    right = sum(p == topic for p, (topic, _) in zip(predicted, rows, strict=True))
    print(f"{right} of {len(rows)} right with {args.template!r}")
    for guess, (topic, sentence) in zip(predicted, rows, strict=True):
        if guess != topic:
            print(f"  {topic} taken for {guess}: {sentence}")


if __name__ == "__main__":
    main()
