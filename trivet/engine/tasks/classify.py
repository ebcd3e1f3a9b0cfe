"""Zero-shot classification by natural language inference: every premise window meets every hypothesis."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from trivet.checkpoint.description import ModelFiles
from trivet.engine.batch.token_batch import TokenSequence, pair_sequence
from trivet.engine.scheduling.jobs import Job, usage
from trivet.engine.tasks.base import EngineLimits, TaskBase, check_length
from trivet.engine.tasks.heads import sigmoid, softmax
from trivet.engine.text.tokenizer import Ids, TextTokenizer
from trivet.engine.text.windows import pair_spans, window_spans
from trivet.errors import InvalidInput
from trivet.messages import ClassifyRequest, ClassifyResult, Floats, StageTimings
from trivet.turns import Steps

PAIR_FIRST = "First: "
PAIR_SECOND = "\nSecond: "
"""Two texts become one premise as `First: {text}\\nSecond: {text_pair}`; the starter classifier learned it so."""

PremiseIds = tuple[Ids, ...]
"""Ids that one window contributes. A premise is a window of the first text and, in a pair, one of the second."""


class ClassifyTask(TaskBase[ClassifyRequest]):
    """Sequences are (premise window, hypothesis), hypotheses innermost; outputs are NLI logits, one per class."""

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer, limits: EngineLimits, device: str) -> None:
        super().__init__(files, tokenizer, limits, device)
        self._entailment, self._opposite = files.entailment()
        self._first, self._second = tokenizer.encode([PAIR_FIRST, PAIR_SECOND])

    def _prepare(self, request: ClassifyRequest) -> Steps[Job]:
        labels = list(request.hypotheses)
        hypotheses = yield from self.encode([request.hypotheses[label] for label in labels], request.long_input)
        room = self._premise_room(hypotheses, labels)
        sequences: list[TokenSequence] = []
        windows: list[int] = []
        truncated: list[bool] = []
        texts = yield from self.encode([item.text for item in request.inputs], request.long_input)
        others = yield from self.encode([item.text_pair or "" for item in request.inputs], request.long_input)
        for index, item in enumerate(request.inputs):
            if item.text_pair is None:
                firsts, seconds, cut = self._premises(texts[index], room, request, index)
            else:
                firsts, seconds, cut = self._pair_premises(texts[index], others[index], room, request, index)
            count = len(firsts) * len(seconds)
            self._check_sequences(len(sequences) + count * len(hypotheses), request)
            sequences += [
                pair_sequence(self.tokenizer.special, first + second, hypothesis)
                for first, second, hypothesis in product(firsts, seconds, hypotheses)
            ]
            windows.append(count)
            truncated.append(cut)
        used = usage(sequences, windows, truncated)
        no_relation = labels.index(request.no_relation_label) if request.no_relation_label in labels else None

        def finish(outputs: Floats, timings: StageTimings) -> ClassifyResult:
            multi_label = request.multi_label or len(labels) == 1
            logits, scores = self._scores(outputs, windows, len(labels), no_relation, multi_label=multi_label)
            return ClassifyResult(logits, scores, used, timings, self.device)

        return Job(sequences, finish, request.priority)

    def _premise_room(self, hypotheses: Sequence[Ids], labels: Sequence[str]) -> int:
        """Tokens left for a premise beside the longest hypothesis, which may take half of the model's limit."""
        limit = self.files.max_tokens - self.tokenizer.special.pair_tokens
        for label, hypothesis in zip(labels, hypotheses, strict=True):
            if len(hypothesis) > limit // 2:
                raise InvalidInput(
                    f"the hypothesis of label {label[:80]!r} has {len(hypothesis)} tokens; "
                    f"this model takes up to {limit // 2} beside a premise",
                    field="labels",
                    code="hypothesis_too_long",
                )
        return limit - max(len(hypothesis) for hypothesis in hypotheses)

    def _premises(
        self, ids: Ids, room: int, request: ClassifyRequest, index: int
    ) -> tuple[list[PremiseIds], list[PremiseIds], bool]:
        cut = check_length(request.long_input, len(ids), room, request.inputs_field, index)
        if cut:
            ids = ids[:room]
        spans = window_spans(len(ids), room, self.limits.overlap_tokens)
        return [(ids[start:end],) for start, end in spans], [()], cut

    def _pair_premises(
        self, first: Ids, second: Ids, room: int, request: ClassifyRequest, index: int
    ) -> tuple[list[PremiseIds], list[PremiseIds], bool]:
        room -= len(self._first) + len(self._second)
        cut = check_length(request.long_input, len(first) + len(second), room, request.inputs_field, index)
        of_first, of_second = pair_spans(len(first), len(second), room, self.limits.overlap_tokens, cut=cut)
        return (
            [(self._first, first[start:end]) for start, end in of_first],
            [(self._second, second[start:end]) for start, end in of_second],
            cut,
        )

    def _scores(
        self, outputs: Floats, windows: Sequence[int], labels: int, no_relation: int | None, *, multi_label: bool
    ) -> tuple[Floats, Floats]:
        """Aggregate over windows, then normalise over labels or per label; return entailment logits and scores.

        Single-label scores are the softmax over the labels of their entailment logits. A multi-label score is the
        softmax of entailment against its opposite, which is the logistic function of their difference. Both follow the
        zero-shot pipeline of transformers, after a maximum over windows (a minimum for the no_relation label). As
        there, a single label is weighed against its opposite.
        """
        entailment = outputs[:, self._entailment]  # (sequences,)
        logits = _aggregated(entailment, windows, labels, no_relation)
        if not multi_label:
            return logits, softmax(logits)
        margins = _aggregated(entailment - outputs[:, self._opposite], windows, labels, no_relation)
        return logits, sigmoid(margins)


def _aggregated(evidence: Floats, windows: Sequence[int], labels: int, no_relation: int | None) -> Floats:
    """Return the best evidence of each label over the windows of an input: (sequences,) → (inputs, labels)."""
    per_window = evidence.reshape(-1, labels)  # (windows of all inputs, labels)
    starts = np.cumsum([0, *windows[:-1]])
    best: Floats = np.maximum.reduceat(per_window, starts, axis=0)
    if no_relation is not None:
        best[:, no_relation] = np.minimum.reduceat(per_window[:, no_relation], starts)
    return best
