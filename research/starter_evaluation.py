"""Every figure that the starter models are held to, beside the embedder's: `python -m research.starter_evaluation`.

    python -m research.starter_evaluation --task classifier --source trivet/starter/classifier --sets topics notes
    python -m research.starter_evaluation --task reranker --source research/runs/card/reranker-export

The source is a folder of `delta.safetensors` and `model.json`; it is put together as an installation would. No row
here is trained on. `--share` draws so much of every set, always the same rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers import BertForSequenceClassification

from research.classifier.inference import breaking_nli, med
from research.classifier.paragraphs import read_paragraphs
from research.classifier.scores import label_logits
from research.classifier.statements import read_statements
from research.classifier.wordings import TOPIC_TEMPLATE, pair_premise
from research.relations.evaluate import TEST, report
from research.relations.hypotheses import RELATION_HYPOTHESES, SNLI_HYPOTHESES
from research.relations.metrics import softmax
from research.relations.pairs import LABELS, Pair, read_pairs, stable_fraction
from research.relations.prose_pairs import snli_rows
from research.repetition import (
    NOTES,
    PARAGRAPHS,
    STATEMENTS,
    blocks_of,
    contradicting_pairs,
    docs_sentences,
    planted,
    restatements,
)
from research.topics.evaluate import read_topics
from research.training.base_model import load_trained, quiet_transformers
from research.training.batches import PairSequence, PairTokenizer, TextPair
from research.training.datasets import by_first, read_cosqa, read_qnli, read_trecqa
from research.training.embedding import Embedder
from research.training.runtime import tune_process
from research.training.scoring import score
from tests.support.program_notes import PROGRAM_NOTES
from trivet.dispatch.blending import Blend
from trivet.engine.text.windows import window_spans
from trivet.evaluation.metrics import average_precision, reciprocal_rank, reciprocal_rank_fusion
from trivet.starter.assemble import assemble
from trivet.starter.card import read_card

HERE = Path(__file__).parent
HOW_TO = HERE / "howto" / "howto.txt"
SECURITY_PAGE = Path("docs/security.md")
NOTE_PAIRS = 200
TOPIC_LENGTHS_TOKENS = (60, 300, 600, 2_000)
OVERLAP_TOKENS = 64
CANDIDATES = 30
CONFIDENT = 0.62
"""The shipped card's threshold, to compare weights at one confidence."""


def lines_of(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]


def note_pairs(limit: int = NOTE_PAIRS) -> list[tuple[str, str]]:
    """Pairs of notes on different parts of one program, drawn by a hash of their texts."""
    pairs = [(a, b) for block in blocks_of(NOTES) for i, a in enumerate(block) for b in block[i + 1 :]]
    return sorted(pairs, key=lambda pair: stable_fraction(f"{pair[0]} {pair[1]}"))[:limit]


def case_12() -> list[tuple[str, str]]:
    """All pairs of the notes on this program itself."""
    return [(a, b) for i, a in enumerate(PROGRAM_NOTES) for b in PROGRAM_NOTES[i + 1 :]]


def how_to() -> list[tuple[str, str]]:
    """(question, passage that answers it)"""
    return [(q.strip(), p.strip()) for q, p in (line.split("|", 1) for line in lines_of(HOW_TO))]


def some(rows: Sequence[Any], share: float) -> list[Any]:
    """A share of the rows, evenly spread."""
    count = max(1, round(len(rows) * share))
    return [rows[int(i)] for i in np.linspace(0, len(rows) - 1, count).round()] if rows else []


class ClassifierFigures:
    """The classifier's lines."""

    def __init__(
        self, model: BertForSequenceClassification, data: Path, share: float, threshold: float = CONFIDENT
    ) -> None:
        """`threshold` is the confidence from which a contradiction counts in repetitions and in passages."""
        self._model, self._data, self._share, self._threshold = model, data, share, threshold
        self._tokenizer = PairTokenizer(512)

    def topics(self, texts_per_topic: int, caps: Sequence[int]) -> dict[str, Any]:
        """Top-1 of texts of one topic's sentences, by length, window and how windows are put together."""
        rows = read_topics()
        labels = sorted({topic for topic, _ in rows})
        hypotheses = [TOPIC_TEMPLATE.format(label) for label in labels]
        hypothesis_ids = [ids[1:-1] for ids in self._tokenizer.encode_single(hypotheses)]
        figures: dict[str, Any] = {}
        for length in TOPIC_LENGTHS_TOKENS:
            texts = [
                (topic, self._topic_ids([s for t, s in rows if t == topic], length, number))
                for topic in labels
                for number in range(texts_per_topic)
            ]
            for cap in caps:
                if cap > caps[0] and cap / 2 > length + 32:
                    continue  # reads the same single window as the smaller cap
                windows = [self._windows(ids, cap, hypothesis_ids) for _, ids in texts]
                logits = self._logits([row for rows_of in windows for row in rows_of], len(labels))
                ends = np.cumsum([len(rows_of) // len(labels) for rows_of in windows])[:-1]
                for name, combine in (("max", np.max), ("mean", np.mean)):
                    scores = [combine(part, axis=0) for part in np.split(logits, ends)]
                    right = [labels[s.argmax()] == topic for s, (topic, _) in zip(scores, texts, strict=True)]
                    sure = [softmax(s[None])[0].max() for s in scores]
                    figures[f"{length} tokens, window {cap}, {name}"] = {
                        "accuracy": round(float(np.mean(right)), 3), "confidence": round(float(np.mean(sure)), 3),
                    }  # fmt: skip
        return figures

    def _topic_ids(self, sentences: list[str], length: int, number: int) -> np.ndarray:
        """A text of `length` tokens: the topic's sentences from another start each time, over and over."""
        turned = sentences[number % len(sentences) :] + sentences[: number % len(sentences)]
        ids = np.concatenate([i[1:-1] for i in self._tokenizer.encode_single(turned)])
        return np.tile(ids, -(-length // len(ids)))[:length]

    def _windows(self, ids: np.ndarray, cap: int, hypotheses: list[np.ndarray]) -> list[PairSequence]:
        room = cap - 3 - max(len(h) for h in hypotheses)
        found = []
        for start, end in window_spans(len(ids), room, min(OVERLAP_TOKENS, room // 4)):
            for hypothesis in hypotheses:
                whole = np.concatenate([[101], ids[start:end], [102], hypothesis, [102]]).astype(np.int32)
                found.append(PairSequence(whole, end - start + 2, 0.0))
        return found

    def _logits(self, sequences: list[PairSequence], labels: int) -> np.ndarray:
        return score(self._model, sequences)[:, 0].reshape(-1, labels)  # (windows, labels)

    def security_page(self) -> dict[str, float]:
        """Case 11: what a page on security is about, each topic by itself, read as the library reads it."""
        labels = ("security", "cooking", "sports")
        hypotheses = [ids[1:-1] for ids in self._tokenizer.encode_single([TOPIC_TEMPLATE.format(x) for x in labels])]
        (ids,) = PairTokenizer(100_000).encode_single([SECURITY_PAGE.read_text(encoding="utf-8")])
        logits = score(self._model, self._windows(ids[1:-1], 512, hypotheses))
        evidence = (logits[:, 0] - logits[:, 1]).reshape(-1, len(labels)).max(axis=0)
        return {label: round(float(1 / (1 + np.exp(-e))), 3) for label, e in zip(labels, evidence, strict=True)}

    def _relations(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        _, logits = label_logits(self._model, [pair_premise(*pair) for pair in pairs], RELATION_HYPOTHESES)
        return softmax(logits)

    def notes(self) -> dict[str, Any]:
        """False contradictions among notes of one program, and how many true ones are found."""
        contradiction = list(RELATION_HYPOTHESES).index("contradiction")
        unrelated = list(RELATION_HYPOTHESES).index("unrelated")
        figures: dict[str, Any] = {}
        for name, pairs in (("apart", note_pairs()), ("case 12", case_12()), ("contradicting", contradicting_pairs())):
            scores = self._relations(pairs)
            best, sure = scores.argmax(axis=1), scores.max(axis=1) >= CONFIDENT
            figures[name] = {
                "pairs": len(pairs),
                "called contradiction": round(float((best == contradiction).mean()), 4),
                "… confidently": round(float(((best == contradiction) & sure).mean()), 4),
                "called unrelated": round(float((best == unrelated).mean()), 4),
            }
        return figures

    def _contradictions(self, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """How many pairs are called a contradiction, at any confidence and from the threshold on."""
        scores = self._relations(pairs)
        called = scores.argmax(axis=1) == list(RELATION_HYPOTHESES).index("contradiction")
        return {
            "pairs": len(pairs),
            "called contradiction": int(called.sum()),
            "… confidently": int((called & (scores.max(axis=1) >= self._threshold)).sum()),
            "called expansion": int((scores.argmax(axis=1) == list(RELATION_HYPOTHESES).index("expansion")).sum()),
        }

    def repetition(self) -> dict[str, Any]:
        """False contradictions of what is said again: the same sentence, in other words, and with trifles changed."""
        reworded, equal = restatements()
        sets = {"itself": [(s, s) for s in docs_sentences()], "in other words": reworded, "trifles": equal}
        return {"threshold": self._threshold, **{name: self._contradictions(pairs) for name, pairs in sets.items()}}

    def planted(self) -> dict[str, Any]:
        """Contradictions of one sentence in passages: how many are found, and how many where there is none."""
        cases = planted(self._tokens)
        sets = {
            "statement beside passage": [(c.statement, c.contradicting) for c in cases],
            "… without": [(c.statement, c.without) for c in cases],
            "… repeating": [(c.statement, c.repeating) for c in cases],
            "passage beside passage": [(c.around, c.contradicting) for c in cases],
            "passages without": [(c.around, c.without) for c in cases],
            "passages repeating": [(c.around, c.repeating) for c in cases],
        }
        return {"threshold": self._threshold, **{name: self._contradictions(pairs) for name, pairs in sets.items()}}

    def written(self) -> dict[str, Any]:
        """Statements and paragraphs that were held back: the same said again, a conflict, something else."""
        said = [one.said for one in read_statements(STATEMENTS)]
        sets = {
            "statements again": [(first, other) for first, *others in said for other in others],
            "statements in conflict": [(one.said[0], one.opposed[0]) for one in read_statements(STATEMENTS)],
            "statements beside": [(one.said[0], one.beside[0]) for one in read_statements(STATEMENTS)],
            "paragraphs again": [(one.text, one.again) for one in read_paragraphs(PARAGRAPHS)],
            "paragraphs in conflict": [(one.text, one.conflict) for one in read_paragraphs(PARAGRAPHS)],
            "paragraphs beside": [(one.text, one.other) for one in read_paragraphs(PARAGRAPHS)],
        }
        return {"threshold": self._threshold, **{name: self._contradictions(pairs) for name, pairs in sets.items()}}

    def _tokens(self, text: str) -> int:
        return len(self._tokenizer.encode_single([text])[0]) - 2

    def relations(self) -> dict[str, Any]:
        pairs: list[Pair] = some(read_pairs(TEST), self._share)
        _, logits = label_logits(self._model, [pair_premise(p.first, p.second) for p in pairs], RELATION_HYPOTHESES)
        order = [list(RELATION_HYPOTHESES).index(label) for label in LABELS]
        return {k: v for k, v in report(pairs, logits[:, order]).items() if k != "accuracy_by_kind"}

    def direction(self) -> dict[str, float]:
        """How often a pair has more of its relation than its reverse has, and is not called it when reversed."""
        figures = {}
        for label in ("dependency", "expansion"):
            pairs = some([p for p in read_pairs(TEST) if p.label == label], 0.2 * self._share)
            column = list(RELATION_HYPOTHESES).index(label)
            straight = self._relations([(p.first, p.second) for p in pairs])
            turned = self._relations([(p.second, p.first) for p in pairs])
            figures[f"{label}: straight above turned"] = float((straight[:, column] > turned[:, column]).mean())
            figures[f"{label}: turned is called so, too"] = float((turned.argmax(axis=1) == column).mean())
        return {name: round(value, 4) for name, value in figures.items()}

    def inference(self) -> dict[str, float]:
        """Three verdicts on SNLI's rows; entailed or not on SNLI, breaking-nli, MED and answers of QNLI."""
        snli = snli_rows(self._data, held_back=True)
        verdicts, logits = label_logits(
            self._model, [pair_premise(r.premise, r.hypothesis) for r in snli], SNLI_HYPOTHESES
        )
        right = [verdicts[i] == r.label for i, r in zip(logits.argmax(axis=1), snli, strict=True)]
        figures = {"snli, three verdicts": float(np.mean(right))}
        sets = {"snli": snli, "breaking-nli": breaking_nli(self._data).held_back, "med": med(self._data).held_back}
        for name, rows in sets.items():
            said = score(self._model, self._tokenizer.encode([TextPair(r.premise, r.hypothesis, 0) for r in rows]))
            entailed = np.array([r.label == "entailment" for r in rows])
            figures[f"{name}, entailed or not"] = float(((said[:, 0] > said[:, 1]) == entailed).mean())
        answers = some(read_qnli(self._data / "qnli-dev.tsv.gz"), 0.15)
        said = score(
            self._model,
            self._tokenizer.encode(
                [TextPair(p.second, f"This text answers the question: {p.first}", 0) for p in answers]
            ),
        )
        figures["qnli answers, entailed or not"] = float(
            ((said[:, 0] > said[:, 1]) == np.array([p.target > 0.5 for p in answers])).mean()
        )
        return {name: round(value, 4) for name, value in figures.items()}


Orders = dict[str, np.ndarray]
"""Scores of a query's candidates, by who gives them."""


class RerankerFigures:
    """The reranker's lines, each beside the embedder alone, the blend that is served and the fusion of both orders."""

    def __init__(self, model: BertForSequenceClassification, data: Path, share: float, blend: Blend | None) -> None:
        self._model, self._data, self._share, self._blend = model, data, share, blend
        self._tokenizer = PairTokenizer(512)
        self._embed = Embedder(max_tokens=256)

    def how_to(self) -> dict[str, float]:
        """100 questions, each over the passages of all."""
        rows = how_to()
        passages = [passage for _, passage in rows]
        gold = [frozenset({i}) for i in range(len(rows))]
        return self._ranked([q for q, _ in rows], passages, gold, reciprocal_rank, "mrr", depth=len(rows))

    def qnli_ranking(self) -> dict[str, float]:
        """Questions of QNLI's dev rows over all of their sentences; the nearest ones are reranked."""
        rows = read_qnli(self._data / "qnli-dev.tsv.gz")
        sentences = list(dict.fromkeys(pair.second for pair in rows))
        position = {text: i for i, text in enumerate(sentences)}
        asked = some([g for g in by_first(rows) if any(p.target > 0.5 for p in g)], 0.2 * self._share)
        gold = [frozenset(position[p.second] for p in group if p.target > 0.5) for group in asked]
        return self._ranked([g[0].first for g in asked], sentences, gold, reciprocal_rank, "mrr")

    def qnli_accuracy(self) -> dict[str, float]:
        rows = some(read_qnli(self._data / "qnli-dev.tsv.gz"), self._share)
        logits = score(self._model, self._tokenizer.encode(rows))[:, 0]
        return {"accuracy": round(float(((logits > 0) == np.array([p.target > 0.5 for p in rows])).mean()), 4)}

    def cosqa(self) -> dict[str, float]:
        queries, functions = read_cosqa(
            self._data / "cosqa-retrieval-dev.json.gz", self._data / "cosqa-code-idx.txt.gz"
        )
        asked = some(queries, self._share)
        gold = [frozenset({position}) for _, position in asked]
        return self._ranked([q for q, _ in asked], functions, gold, reciprocal_rank, "mrr")

    def trecqa(self) -> dict[str, float]:
        rankings = [r for r in read_trecqa(self._data / "trecqa-dev.csv.gz") if 0 < len(r.relevant) < len(r.candidates)]
        found: dict[str, list[float]] = {}
        for ranking in rankings:
            cosine = self._embed(list(ranking.candidates)) @ self._embed([ranking.query])[0]
            self._note(found, self._orders(ranking.query, ranking.candidates, cosine), ranking.relevant,
                       average_precision)  # fmt: skip
        return {f"{name} map": round(float(np.mean(values)), 4) for name, values in found.items()}

    def _ranked(
        self, queries: list[str], documents: list[str], gold: list[frozenset[int]],
        metric: Callable[[np.ndarray, np.ndarray], float], unit: str, depth: int = CANDIDATES,
    ) -> dict[str, float]:  # fmt: skip
        similarity = self._embed(queries) @ self._embed(documents).T  # (Q, D)
        near = np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
        found: dict[str, list[float]] = {}
        scored = self._scores([(q, documents[i]) for q, row in zip(queries, near, strict=True) for i in row])
        for number, (row, logits) in enumerate(zip(near, scored.reshape(near.shape), strict=True)):
            relevant = frozenset(p for p, i in enumerate(row.tolist()) if i in gold[number])
            orders = orders_of(similarity[number, row], logits, self._blend)
            self._note(found, orders, relevant, metric)
        return {
            "queries": len(queries), "documents": len(documents),
            **{f"{name} {unit}": round(float(np.mean(values)), 4) for name, values in found.items()},
        }  # fmt: skip

    def _orders(self, query: str, documents: Sequence[str], cosine: np.ndarray) -> Orders:
        return orders_of(cosine, self._scores([(query, d) for d in documents]), self._blend)

    def _scores(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return score(self._model, self._tokenizer.encode([TextPair(q, d, 0.0) for q, d in pairs]))[:, 0]

    @staticmethod
    def _note(
        found: dict[str, list[float]], orders: Orders, relevant: frozenset[int],
        metric: Callable[[np.ndarray, np.ndarray], float],
    ) -> None:  # fmt: skip
        for name, scores in orders.items():
            flags = np.isin(np.arange(len(scores)), list(relevant))
            found.setdefault(name, []).append(metric(scores, flags) if flags.any() else 0.0)


def orders_of(cosine: np.ndarray, logits: np.ndarray, blend: Blend | None) -> Orders:
    """The embedder's order, the reranker's, their blend by the reranker's card, and their fusion by ranks."""
    blended = {} if blend is None else {"blend": blend.logits(logits, cosine)}
    return {"embedder": cosine, "reranker": logits, **blended, "fused": reciprocal_rank_fusion(cosine, logits)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("classifier", "reranker"), required=True)
    parser.add_argument("--source", type=Path, help="folder of delta.safetensors and model.json; default: the shipped")
    parser.add_argument("--data", type=Path, default=Path("research/data"))
    parser.add_argument("--sets", nargs="+", help="default: all of the task's")
    parser.add_argument("--share", type=float, default=1.0, help="of the large sets")
    parser.add_argument("--topic-texts", type=int, default=3, help="texts per topic and length")
    parser.add_argument("--windows", type=int, nargs="+", default=[128, 192, 256, 512])
    parser.add_argument("--threshold", type=float, help="confidence of a contradiction; default: the card's")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    tune_process(threads=args.threads)
    quiet_transformers()
    source = args.source or Path("trivet/starter") / args.task
    with tempfile.TemporaryDirectory() as cache:
        model = load_trained(assemble(source, Path(cache)))
    lines: dict[str, Callable[[], Any]]
    if args.task == "classifier":
        threshold = read_card(source / "model.json").threshold if args.threshold is None else args.threshold
        of = ClassifierFigures(model, args.data, args.share, threshold)
        lines = {
            "topics": lambda: of.topics(args.topic_texts, args.windows), "security": of.security_page,
            "notes": of.notes, "repetition": of.repetition, "planted": of.planted, "written": of.written,
            "inference": of.inference, "direction": of.direction, "relations": of.relations,
        }  # fmt: skip
    else:
        stated = read_card(source / "model.json").blend
        blend = None if stated is None else Blend(**stated.model_dump())
        ranked = RerankerFigures(model, args.data, args.share, blend)
        lines = {
            "how-to": ranked.how_to, "trecqa": ranked.trecqa, "qnli-accuracy": ranked.qnli_accuracy,
            "qnli-ranking": ranked.qnli_ranking, "cosqa": ranked.cosqa,
        }  # fmt: skip
    figures: dict[str, Any] = {}
    for name, line in lines.items():
        if not args.sets or name in args.sets:
            figures[name] = line()
            print(json.dumps({name: figures[name]}, indent=1), flush=True)
            if args.out:
                args.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
