"""Prediction of the classifier's own classes, for a text or for a premise and a hypothesis."""

from itertools import product

from trivet.checkpoint.description import ModelFiles
from trivet.engine.batch.token_batch import TokenSequence, pair_sequence, single_sequence
from trivet.engine.scheduling.jobs import Job, usage
from trivet.engine.tasks.base import EngineLimits, TaskBase, check_length
from trivet.engine.tasks.heads import softmax
from trivet.engine.text.tokenizer import Ids, TextTokenizer
from trivet.engine.text.windows import Span, pair_spans, window_spans
from trivet.messages import Floats, PredictRequest, PredictResult, StageTimings
from trivet.turns import Steps


class PredictTask(TaskBase[PredictRequest]):
    """Sequences are windows of a text, or of both texts of a pair; outputs are class logits, (sequences, classes).

    The window with the greatest entailment logit decides a long input: one passage that entails the hypothesis is
    enough, and the model has produced these logits together.
    """

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer, limits: EngineLimits, device: str) -> None:
        super().__init__(files, tokenizer, limits, device)
        self._entailment, _ = files.entailment()
        self._labels = tuple(sorted(files.labels, key=lambda label: files.labels[label]))

    def _prepare(self, request: PredictRequest) -> Steps[Job]:
        special = self.tokenizer.special
        sequences: list[TokenSequence] = []
        windows: list[int] = []
        truncated: list[bool] = []
        texts = yield from self.encode([item.text for item in request.inputs], request.long_input)
        others = yield from self.encode([item.text_pair or "" for item in request.inputs], request.long_input)
        for index, item in enumerate(request.inputs):
            other = others[index] if item.text_pair is not None else None
            of_text, of_other, cut = self._spans(texts[index], other, request, index)
            count = len(of_text) * len(of_other)
            self._check_sequences(len(sequences) + count, request)
            sequences += [
                single_sequence(special, texts[index][a:b])
                if other is None
                else pair_sequence(special, (texts[index][a:b],), other[c:d])
                for (a, b), (c, d) in product(of_text, of_other)
            ]
            windows.append(count)
            truncated.append(cut)
        used = usage(sequences, windows, truncated)

        def finish(outputs: Floats, timings: StageTimings) -> PredictResult:
            logits = outputs[_best_sequences(outputs[:, self._entailment], windows)]  # (inputs, classes)
            scores = softmax(logits)
            return PredictResult(self._labels, logits, scores, used, timings, self.device)

        return Job(sequences, finish, request.priority)

    def _spans(
        self, text: Ids, other: Ids | None, request: PredictRequest, index: int
    ) -> tuple[list[Span], list[Span], bool]:
        """Windows of both texts (one empty window if there is no second text), and whether anything is cut."""
        overlap = self.limits.overlap_tokens
        if other is None:
            room = self.files.max_tokens - self.tokenizer.special.single_tokens
            cut = check_length(request.long_input, len(text), room, request.inputs_field, index)
            return window_spans(room if cut else len(text), room, overlap), [(0, 0)], cut
        room = self.files.max_tokens - self.tokenizer.special.pair_tokens
        cut = check_length(request.long_input, len(text) + len(other), room, request.inputs_field, index)
        return *pair_spans(len(text), len(other), room, overlap, cut=cut), cut


def _best_sequences(evidence: Floats, windows: list[int]) -> list[int]:
    """For each input, the index of its sequence with the greatest evidence."""
    best: list[int] = []
    start = 0
    for count in windows:
        best.append(start + int(evidence[start : start + count].argmax()))
        start += count
    return best
