"""Reranking: the query whole, the document in windows, the best window counts."""

import numpy as np

from trivet.engine.heads import sigmoid
from trivet.engine.jobs import Job, usage
from trivet.engine.rows import Row, pair_row
from trivet.engine.tasks.base import TaskBase, check_length
from trivet.engine.windows import pair_spans
from trivet.messages import Floats, RerankRequest, RerankResult, StageTimings


class RerankTask(TaskBase[RerankRequest]):
    """Rows are (query, window of document); outputs are one logit, (rows, 1).

    A query of more than half of the model's limit is windowed too, each of its windows against each of the
    document's: relations rerank with whole files as the query.
    """

    def _prepare_one(self, request: RerankRequest) -> Job:
        query_param, documents_param = request.params
        special = self.tokenizer.special
        room = self.files.max_tokens - special.pair_tokens
        query, *documents = self.tokenizer.encode([request.query, *request.documents])
        if check_length(request.long_input, len(query), room // 2, query_param):
            query = query[: room // 2]
        rows: list[Row] = []
        windows: list[int] = []
        truncated: list[bool] = []
        for index, document in enumerate(documents):
            document_room = max(room - len(query), room // 2)
            cut = check_length(request.long_input, len(document), document_room, f"{documents_param}[{index}]")
            if cut:
                document = document[:document_room]
            spans = pair_spans(len(query), len(document), room, self.limits.overlap_tokens)
            rows += [
                pair_row(special, (query[first[0] : first[1]],), document[second[0] : second[1]])
                for first, second in spans
            ]
            windows.append(len(spans))
            truncated.append(cut)
        self._check_sequences(len(rows), documents_param)
        used = usage(rows, windows, truncated)
        starts = np.cumsum([0, *windows[:-1]])

        def finish(outputs: Floats, timings: StageTimings) -> RerankResult:
            logits: Floats = np.maximum.reduceat(outputs[:, 0], starts)  # (documents,)
            scores = logits if self.files.activation == "identity" else sigmoid(logits)
            return RerankResult(logits, scores, used, timings, self.device)

        return Job(rows, finish, request.priority)
