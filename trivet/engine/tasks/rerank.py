"""Reranking: the query meets every window of a document, and the best window counts."""

from itertools import product

import numpy as np

from trivet.engine.batch.sequences import TokenSequence, pair_sequence
from trivet.engine.scheduling.jobs import Job, usage
from trivet.engine.tasks.base import TaskBase, check_length
from trivet.engine.tasks.heads import sigmoid
from trivet.engine.text.turns import Steps
from trivet.engine.text.windows import pair_rooms, pair_spans
from trivet.messages import Floats, RerankRequest, RerankResult, StageTimings


class RerankTask(TaskBase[RerankRequest]):
    """Sequences are (query, window of document); outputs are one logit, (sequences, 1).

    A query that takes more than half of the model's limit is windowed too, and each of its windows meets each of the
    document's. Relations rerank with whole files as the query.
    """

    def _prepare(self, request: RerankRequest) -> Steps[Job]:
        special = self.tokenizer.special
        room = self.files.max_tokens - special.pair_tokens
        query, *documents = yield from self.encode([request.query, *request.documents], request.long_input)
        sequences: list[TokenSequence] = []
        windows: list[int] = []
        truncated: list[bool] = []
        for index, document in enumerate(documents):
            query_room, document_room = pair_rooms(len(query), len(document), room)
            query_cut = check_length(request.long_input, len(query), query_room, request.query_field)
            document_cut = check_length(request.long_input, len(document), document_room, request.inputs_field, index)
            cut = query_cut or document_cut
            of_query, of_document = pair_spans(len(query), len(document), room, self.limits.overlap_tokens, cut=cut)
            count = len(of_query) * len(of_document)
            self._check_sequences(len(sequences) + count, request)
            sequences += [
                pair_sequence(special, (query[a:b],), document[c:d])
                for (a, b), (c, d) in product(of_query, of_document)
            ]
            windows.append(count)
            truncated.append(cut)
        used = usage(sequences, windows, truncated)
        starts = np.cumsum([0, *windows[:-1]])

        def finish(outputs: Floats, timings: StageTimings) -> RerankResult:
            logits: Floats = np.maximum.reduceat(outputs[:, 0], starts)  # (documents,)
            return RerankResult(logits, sigmoid(logits), used, timings, self.device)

        return Job(sequences, finish, request.priority)
