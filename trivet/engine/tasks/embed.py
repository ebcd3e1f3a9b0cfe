"""Embedding: prompts, windows, the mean over windows, Matryoshka slices."""

import numpy as np

from trivet.engine.batch.sequences import TokenSequence, single_sequence
from trivet.engine.scheduling.jobs import Job, usage
from trivet.engine.tasks.base import TaskBase, check_length
from trivet.engine.tasks.heads import l2_normalize, pool_windows
from trivet.engine.text.tokenizer import Ids
from trivet.engine.text.turns import Steps
from trivet.engine.text.windows import window_spans
from trivet.errors import InvalidInput
from trivet.messages import EmbedRequest, EmbedResult, Floats, StageTimings


class EmbedTask(TaskBase[EmbedRequest]):
    """Sequences are windows of texts; outputs are pooled, not yet normalised vectors, (sequences, H)."""

    def _prepare(self, request: EmbedRequest) -> Steps[Job]:
        prompt = self._prompt(request)
        dimensions = self._dimensions(request)
        normalize = self.files.normalize if request.normalize is None else request.normalize
        room = self.files.max_tokens - self.tokenizer.special.single_tokens
        sequences: list[TokenSequence] = []
        windows: list[int] = []
        truncated: list[bool] = []
        [prompt_ids] = (yield from self.encode([prompt], request.long_input)) if prompt else [None]
        texts = yield from self.encode([prompt + text for text in request.texts], request.long_input)
        for index, ids in enumerate(texts):
            cut = check_length(request.long_input, len(ids), room, request.inputs_field, index)
            of_text = self._windows(ids[:room] if cut else ids, prompt_ids, room)
            sequences += of_text
            windows.append(len(of_text))
            truncated.append(cut)
            self._check_sequences(len(sequences), request)
        used = usage(sequences, windows, truncated)

        def finish(outputs: Floats, timings: StageTimings) -> EmbedResult:
            vectors = np.empty((len(windows), outputs.shape[1]), dtype=np.float32)  # (N, H)
            at = 0
            for index, count in enumerate(windows):
                tokens = [sequence.tokens for sequence in sequences[at : at + count]]
                vectors[index] = pool_windows(outputs[at : at + count], tokens)
                at += count
            vectors = vectors[:, :dimensions]
            if normalize:
                vectors = l2_normalize(vectors)
            return EmbedResult(vectors, used, timings, self.device)

        return Job(sequences, finish, request.priority)

    def _windows(self, ids: Ids, prompt_ids: Ids | None, room: int) -> list[TokenSequence]:
        """Cut a text into windows, each of which begins with the prompt."""
        lead = ids[: _shared_prefix(ids, prompt_ids)] if prompt_ids is not None else ids[:0]
        content = ids[len(lead) :]
        spans = window_spans(len(content), room - len(lead), self.limits.overlap_tokens)
        return [single_sequence(self.tokenizer.special, lead, content[start:end]) for start, end in spans]

    def _prompt(self, request: EmbedRequest) -> str:
        try:
            if request.prompt_name:
                return self.files.prompt(request.prompt_name)
            return self.files.prompt_of_type(request.input_type)
        except KeyError as error:
            raise InvalidInput(
                f"this model has no prompt named {error.args[0]!r}; it has {sorted(self.files.prompts)}",
                field="prompt_name" if request.prompt_name else "input_type",
                code="unknown_prompt",
            ) from None

    def _dimensions(self, request: EmbedRequest) -> int:
        full = self.files.dimensions
        if request.dimensions is None:
            return full
        if not 1 <= request.dimensions <= full:
            raise InvalidInput(
                f"dimensions must be between 1 and {full} for this model, not {request.dimensions}", field="dimensions"
            )
        return request.dimensions


def _shared_prefix(ids: Ids, prompt_ids: Ids) -> int:
    """Length of the common beginning: a subword may straddle the border between prompt and text."""
    shortest = min(len(ids), len(prompt_ids))
    differs = np.flatnonzero(ids[:shortest] != prompt_ids[:shortest])
    return int(differs[0]) if len(differs) else shortest
