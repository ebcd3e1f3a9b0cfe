"""Reranking by a late-interaction model: query and documents are read apart and meet in their token vectors."""

from collections.abc import Sequence

import numpy as np

from trivet.checkpoint.description import ModelFiles
from trivet.checkpoint.late_interaction import Side
from trivet.engine.batch.token_batch import TokenSequence
from trivet.engine.scheduling.jobs import Job, Kept
from trivet.engine.tasks.base import EngineLimits, TaskBase, check_length
from trivet.engine.tasks.token_vectors import MOST_NUMBERS, TokenVectors, max_sim
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import InvalidInput
from trivet.messages import Floats, RerankRequest, RerankResult, StageTimings, Usage
from trivet.turns import Steps


class LateRerankTask(TaskBase[RerankRequest]):
    """Sequences are windows of the query, then those of the documents; outputs are vectors of their tokens.

    A logit is MaxSim: of each of the query's vectors the largest product with one of the document's, added up. A score
    is the mean instead of the sum, from 0 on. All windows of a text count as one text.
    """

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer, limits: EngineLimits, device: str) -> None:
        super().__init__(files, tokenizer, limits, device)
        self._vectors = TokenVectors(files, tokenizer)
        self._prompts: dict[Side, str] = {
            "query": files.prompt_of_type("query"),
            "document": files.prompt_of_type("document"),
        }

    def _prepare(self, request: RerankRequest) -> Steps[Job]:
        of_query, query_cut = (yield from self._side(request, "query", [request.query], request.query_field))[0]
        sides: list[Side] = ["query"] * len(of_query)
        sequences = list(of_query)
        windows: list[int] = []
        truncated: list[bool] = []
        documents = yield from self._side(request, "document", request.documents, request.inputs_field)
        for of_document, cut in documents:
            sequences += of_document
            windows.append(len(of_document))
            truncated.append(cut or query_cut)
        sides += ["document"] * (len(sequences) - len(sides))
        self._check_numbers(sum(sequence.tokens for sequence in sequences), request)
        used = self._usage(of_query, sequences, windows, truncated)

        def compact(index: int, outputs: Floats) -> Floats:
            return self._vectors.rows(sequences[index], outputs, sides[index])

        def finish(kept: Sequence[Floats], timings: StageTimings) -> RerankResult:
            query = np.concatenate(kept[: len(of_query)])  # (Q, H)
            logits = np.empty(len(windows), dtype=np.float32)
            at = len(of_query)
            for index, count in enumerate(windows):
                logits[index] = max_sim(query, np.concatenate(kept[at : at + count]))
                at += count
            scores = np.clip(logits / max(1, len(query)), 0.0, 1.0).astype(np.float32)
            return RerankResult(logits, scores, used, timings, self.device)

        return Job(sequences, Kept(compact, finish), request.priority, per_token=True)

    def _side(
        self, request: RerankRequest, side: Side, texts: Sequence[str], field: str
    ) -> Steps[list[tuple[list[TokenSequence], bool]]]:
        """The windows of each text, and whether text is cut off."""
        prompt = self._prompts[side]
        room = self._vectors.limit(side) - self.tokenizer.special.single_tokens
        [prompt_ids] = yield from self.encode([prompt], request.long_input)
        found = []
        of_texts = yield from self.encode([prompt + text for text in texts], request.long_input)
        count = 0
        for index, ids in enumerate(of_texts):
            cut = check_length(request.long_input, len(ids), room, field, None if side == "query" else index)
            of_text = self._vectors.windows(
                ids[:room] if cut else ids, side, prompt_ids, room, self.limits.overlap_tokens
            )
            count += len(of_text)
            self._check_sequences(count, request)
            found.append((of_text, cut))
        return found

    def _usage(
        self,
        of_query: Sequence[TokenSequence],
        sequences: Sequence[TokenSequence],
        windows: Sequence[int],
        truncated: Sequence[bool],
    ) -> Usage:
        """What was read; the query is read once, and counts with the first document."""
        tokens = [sequence.tokens for sequence in sequences[len(of_query) :]]
        starts = np.cumsum([0, *windows[:-1]])
        by_document = [int(total) for total in np.add.reduceat(tokens, starts)]
        by_document[0] += sum(sequence.tokens for sequence in of_query)
        return Usage(tuple(by_document), tuple(windows), tuple(truncated))

    def _check_numbers(self, tokens: int, request: RerankRequest) -> None:
        if tokens * self.files.token_dimensions > MOST_NUMBERS:
            raise InvalidInput(
                f"this request has {tokens} tokens; the limit of this model, which holds a vector of each, is "
                f"{MOST_NUMBERS // self.files.token_dimensions}. Send fewer or shorter documents.",
                field=request.inputs_field,
                code="too_many_token_vectors",
            )
