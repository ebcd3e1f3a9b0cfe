"""Reranking: the query meets every window of a document, and the best window counts."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from trivet.checkpoint.description import ModelFiles
from trivet.engine.batch.token_batch import TokenSequence, pair_sequence, whole_sequence
from trivet.engine.scheduling.jobs import Job, usage
from trivet.engine.tasks.base import EngineLimits, TaskBase, check_length
from trivet.engine.tasks.heads import sigmoid
from trivet.engine.text.tokenizer import Ids, TextTokenizer
from trivet.engine.text.windows import pair_rooms, pair_spans
from trivet.messages import Floats, RerankRequest, RerankResult, StageTimings
from trivet.turns import Steps


class RerankTask(TaskBase[RerankRequest]):
    """Sequences are (query, window of document); outputs are one logit, (sequences, 1).

    A query that takes more than half of the model's limit is windowed too, and each of its windows meets each of the
    document's. Relations rerank with whole files as the query.

    A model with a template reads a pair inside a prompt. A pair that fits is tokenised together with the prompt, since
    tokens may straddle the borders; windows of a longer one are laid between the tokens of the prompt.
    """

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer, limits: EngineLimits, device: str) -> None:
        super().__init__(files, tokenizer, limits, device)
        self._special = tokenizer.special
        if files.template is not None:
            before, between, after = (self._joined(texts) for texts in files.template.around())
            if files.template.begins_with_special_tokens:
                before = np.concatenate([self._special.single_prefix, before])
            self._special = replace(
                self._special, pair_prefix=before, pair_middle=between, pair_suffix=after, has_type_ids=False
            )

    def _joined(self, texts: Sequence[str]) -> Ids:
        """Ids of texts that are tokenised one by one."""
        return np.concatenate([np.empty(0, np.int32), *self.tokenizer.encode(texts)])

    def _prepare(self, request: RerankRequest) -> Steps[Job]:
        room = self.files.max_tokens - self._special.pair_tokens
        query, *documents = yield from self.encode([request.query, *request.documents], request.long_input)
        sequences: list[TokenSequence] = []
        windows: list[int] = []
        truncated: list[bool] = []
        for index, document in enumerate(documents):
            of_pair = self._within_prompt(request.query, request.documents[index], len(query) + len(document))
            cut = False
            if not of_pair:
                of_pair, cut = self._in_windows(query, document, room, request, index)
            self._check_sequences(len(sequences) + len(of_pair), request)
            sequences += of_pair
            windows.append(len(of_pair))
            truncated.append(cut)
        used = usage(sequences, windows, truncated)
        starts = np.cumsum([0, *windows[:-1]])

        def finish(outputs: Floats, timings: StageTimings) -> RerankResult:
            logits: Floats = np.maximum.reduceat(outputs[:, 0], starts)  # (documents,)
            return RerankResult(logits, sigmoid(logits), used, timings, self.device)

        return Job(sequences, finish, request.priority)

    def _within_prompt(self, query: str, document: str, tokens: int) -> list[TokenSequence]:
        """The one sequence of a pair that fits into the template; empty if it does not fit or there is no template."""
        template = self.files.template
        if template is None or tokens + self._special.pair_tokens > self.files.max_tokens:
            return []
        ids = self._joined(template.texts(query, document))
        if template.begins_with_special_tokens:
            ids = np.concatenate([self._special.single_prefix, ids])
        return [whole_sequence(ids)] if len(ids) <= self.files.max_tokens else []

    def _in_windows(
        self, query: Ids, document: Ids, room: int, request: RerankRequest, index: int
    ) -> tuple[list[TokenSequence], bool]:
        """Each window of the query with each of the document's, and whether text is cut off."""
        query_room, document_room = pair_rooms(len(query), len(document), room)
        query_cut = check_length(request.long_input, len(query), query_room, request.query_field)
        document_cut = check_length(request.long_input, len(document), document_room, request.inputs_field, index)
        cut = query_cut or document_cut
        of_query, of_document = pair_spans(len(query), len(document), room, self.limits.overlap_tokens, cut=cut)
        self._check_sequences(len(of_query) * len(of_document), request)
        pairs = product(of_query, of_document)
        return [pair_sequence(self._special, (query[a:b],), document[c:d]) for (a, b), (c, d) in pairs], cut
