"""The classifier's own classes, for callers that bring no labels: of a text, or of a premise and a hypothesis."""

from trivet.engine.heads import softmax
from trivet.engine.jobs import Job, usage
from trivet.engine.model_files import ModelFiles
from trivet.engine.rows import Row, pair_row, single_row
from trivet.engine.tasks.base import EngineLimits, TaskBase, check_length
from trivet.engine.tokenizer import Ids, TextTokenizer
from trivet.engine.windows import pair_spans, window_spans
from trivet.messages import Floats, PredictRequest, PredictResult, StageTimings


class PredictTask(TaskBase[PredictRequest]):
    """Rows are windows of a text, or of both texts of a pair; outputs are class logits, (rows, classes).

    Of a long input's windows the one with the greatest entailment logit answers: one passage that entails the
    hypothesis is enough, and the logits given back are ones that the model really produced together.
    """

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer, limits: EngineLimits, device: str) -> None:
        super().__init__(files, tokenizer, limits, device)
        self._entailment, _ = files.entailment()
        self._labels = tuple(sorted(files.labels, key=lambda label: files.labels[label]))

    def _prepare_one(self, request: PredictRequest) -> Job:
        rows: list[Row] = []
        windows: list[int] = []
        truncated: list[bool] = []
        texts = self.tokenizer.encode([item.text for item in request.inputs])
        others = self.tokenizer.encode([item.text_pair or "" for item in request.inputs])
        for index, item in enumerate(request.inputs):
            other = others[index] if item.text_pair is not None else None
            input_rows, cut = self._rows(texts[index], other, request, f"{request.param}[{index}]")
            self._check_sequences(len(rows) + len(input_rows), request.param)
            rows += input_rows
            windows.append(len(input_rows))
            truncated.append(cut)
        used = usage(rows, windows, truncated)

        def finish(outputs: Floats, timings: StageTimings) -> PredictResult:
            logits = outputs[_best_rows(outputs[:, self._entailment], windows)]  # (inputs, classes)
            scores = softmax(logits)
            return PredictResult(self._labels, logits, scores, used, timings, self.device)

        return Job(rows, finish, request.priority)

    def _rows(self, text: Ids, other: Ids | None, request: PredictRequest, param: str) -> tuple[list[Row], bool]:
        special, overlap = self.tokenizer.special, self.limits.overlap_tokens
        if other is None:
            room = self.files.max_tokens - special.single_tokens
            cut = check_length(request.long_input, len(text), room, param)
            spans = window_spans(room if cut else len(text), room, overlap)
            rows = [single_row(special, text[start:end]) for start, end in spans]
        else:
            room = self.files.max_tokens - special.pair_tokens
            both = pair_spans(len(text), len(other), room, overlap)
            rows = [pair_row(special, (text[a:b],), other[c:d]) for (a, b), (c, d) in both]
            cut = check_length(request.long_input, len(text) + len(other), room, param)
        return (rows[:1] if cut else rows), cut


def _best_rows(evidence: Floats, windows: list[int]) -> list[int]:
    """Per input the index of its row with the greatest evidence."""
    best: list[int] = []
    start = 0
    for count in windows:
        best.append(start + int(evidence[start : start + count].argmax()))
        start += count
    return best
