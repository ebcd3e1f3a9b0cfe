"""Embedding: prompts, windows, and what is made of them: one vector, sparse weights, vectors of tokens."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from trivet.checkpoint.description import ModelFiles
from trivet.engine.batch.token_batch import TokenSequence
from trivet.engine.scheduling.jobs import Finish, Job, Kept, usage
from trivet.engine.tasks.base import EngineLimits, TaskBase, check_length
from trivet.engine.tasks.heads import l2_normalize, pool_windows
from trivet.engine.tasks.sparse import above_zero, largest_by_id, largest_of_entries
from trivet.engine.tasks.token_vectors import MOST_ANSWERED_NUMBERS, TokenVectors
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.errors import InvalidInput
from trivet.messages import NO_VECTORS, EmbedRequest, EmbedResult, Floats, InputType, SparseVector, StageTimings, Usage
from trivet.prompts import instructed_prompt
from trivet.turns import Steps


@dataclass(frozen=True, slots=True)
class _Texts:
    """A request's texts as sequences."""

    sequences: Sequence[TokenSequence]
    windows: Sequence[int]
    """Of each text, how many sequences it became."""
    used: Usage

    def by_text(self) -> list[slice]:
        """The sequences of each text."""
        ends = np.cumsum(self.windows)
        return [slice(int(end) - count, int(end)) for end, count in zip(ends, self.windows, strict=True)]


class EmbedTask(TaskBase[EmbedRequest]):
    """Sequences are windows of texts.

    Outputs are pooled, not yet normalised vectors, (sequences, H); weights over the vocabulary, (sequences, entries);
    or numbers of tokens, (tokens, numbers).
    """

    def __init__(self, files: ModelFiles, tokenizer: TextTokenizer, limits: EngineLimits, device: str) -> None:
        super().__init__(files, tokenizer, limits, device)
        self._token_vectors = TokenVectors(files, tokenizer)
        self._uncounted = np.array(tokenizer.special_ids, dtype=np.int32)
        """Tokens that have no sparse weight."""

    def _prepare(self, request: EmbedRequest) -> Steps[Job]:
        self._check_output(request)
        dimensions = self._dimensions(request)
        texts = yield from self._texts(request)
        if request.output == "tokens":
            self._check_numbers(sum(sequence.tokens for sequence in texts.sequences), request)
            return Job(texts.sequences, self._tokens(texts, request.input_type), request.priority, per_token=True)
        if request.output == "sparse" and self.files.is_splade:
            return Job(texts.sequences, self._vocabulary(texts), request.priority)
        if request.output == "sparse":
            return Job(texts.sequences, self._weights(texts), request.priority, per_token=True)
        normalize = self.files.normalize if request.normalize is None else request.normalize
        return Job(texts.sequences, self._vectors(texts, dimensions, normalize=normalize), request.priority)

    def _texts(self, request: EmbedRequest) -> Steps[_Texts]:
        prompt = self._prompt(request)
        side = request.input_type
        room = self._token_vectors.limit(side) - self.tokenizer.special.single_tokens
        sequences: list[TokenSequence] = []
        windows: list[int] = []
        truncated: list[bool] = []
        [prompt_ids] = (yield from self.encode([prompt], request.long_input)) if prompt else [None]
        texts = yield from self.encode([prompt + text for text in request.texts], request.long_input)
        for index, ids in enumerate(texts):
            cut = check_length(request.long_input, len(ids), room, request.inputs_field, index)
            of_text = self._token_vectors.windows(
                ids[:room] if cut else ids, side, prompt_ids, room, self.limits.overlap_tokens
            )
            sequences += of_text
            windows.append(len(of_text))
            truncated.append(cut)
            self._check_sequences(len(sequences), request)
        return _Texts(sequences, windows, usage(sequences, windows, truncated))

    # ── results ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _vectors(self, texts: _Texts, dimensions: int, *, normalize: bool) -> Finish:
        def finish(outputs: Floats, timings: StageTimings) -> EmbedResult:
            vectors = np.empty((len(texts.windows), outputs.shape[1]), dtype=np.float32)  # (N, H)
            for index, of_text in enumerate(texts.by_text()):
                tokens = [sequence.tokens for sequence in texts.sequences[of_text]]
                vectors[index] = pool_windows(outputs[of_text], tokens)
            vectors = vectors[:, :dimensions]
            if normalize:
                vectors = l2_normalize(vectors)
            return EmbedResult(vectors, texts.used, timings, self.device)

        return finish

    def _vocabulary(self, texts: _Texts) -> Kept:
        def text(kept: Sequence[Floats], of_text: slice) -> SparseVector:
            return largest_of_entries(kept[of_text])

        return Kept(lambda _, weights: above_zero(weights), self._sparse(texts, text))

    def _weights(self, texts: _Texts) -> Kept:
        def text(kept: Sequence[Floats], of_text: slice) -> SparseVector:
            ids = np.concatenate([sequence.ids() for sequence in texts.sequences[of_text]])
            counts = ~np.isin(ids, self._uncounted)
            return largest_by_id(ids[counts], np.concatenate(kept[of_text])[counts])

        return Kept(lambda _, numbers: numbers[:, 0].copy(), self._sparse(texts, text))

    def _sparse(
        self, texts: _Texts, text: Callable[[Sequence[Floats], slice], SparseVector]
    ) -> Callable[[Sequence[Floats], StageTimings], EmbedResult]:
        def finish(kept: Sequence[Floats], timings: StageTimings) -> EmbedResult:
            found = tuple(text(kept, of_text) for of_text in texts.by_text())
            return EmbedResult(NO_VECTORS, texts.used, timings, self.device, sparse=found)

        return finish

    def _tokens(self, texts: _Texts, side: InputType | None) -> Kept:
        def compact(index: int, outputs: Floats) -> Floats:
            return self._token_vectors.rows(texts.sequences[index], outputs, side)

        def finish(kept: Sequence[Floats], timings: StageTimings) -> EmbedResult:
            found = tuple(np.concatenate(kept[of_text]) for of_text in texts.by_text())
            return EmbedResult(NO_VECTORS, texts.used, timings, self.device, tokens=found)

        return Kept(compact, finish)

    # ── what is refused ─────────────────────────────────────────────────────────────────────────────────────────────

    def _check_output(self, request: EmbedRequest) -> None:
        if request.output not in self.files.outputs:
            unread = ", ".join(self.files.unread)
            why = f" ({unread}: pickles, which are read only if pickled_models names the model)" if unread else ""
            raise InvalidInput(
                f"this model gives {' and '.join(self.files.outputs)}, not {request.output}{why}; ask for "
                f"{' or '.join(self.files.outputs)}, or serve a model that gives {request.output}",
                field="output",
                code="unsupported_output",
            )
        if request.output == "dense":
            return
        for field, value in (("dimensions", request.dimensions), ("normalize", request.normalize)):
            if value is not None:
                raise InvalidInput(
                    f"{field} is for dense vectors; with output {request.output} leave it out", field=field
                )

    def _check_numbers(self, tokens: int, request: EmbedRequest) -> None:
        numbers = tokens * self.files.token_dimensions
        if numbers > MOST_ANSWERED_NUMBERS:
            most = MOST_ANSWERED_NUMBERS // self.files.token_dimensions
            raise InvalidInput(
                f"this request is answered with vectors of {tokens} tokens; the limit is {most} tokens of "
                f"{self.files.token_dimensions} dimensions. Send fewer or shorter texts.",
                field=request.inputs_field,
                code="too_many_token_vectors",
            )

    def _prompt(self, request: EmbedRequest) -> str:
        if request.instruction is not None:
            return self._instructed(request, request.instruction)
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

    def _instructed(self, request: EmbedRequest, instruction: str) -> str:
        if request.prompt_name or request.input_type == "document":
            other = "prompt_name" if request.prompt_name else "input_type document"
            raise InvalidInput(f"instruction is for queries; it does not go with {other}", field="instruction")
        prompt = instructed_prompt(self.files.prompts, instruction)
        if prompt is None:
            raise InvalidInput(
                "no prompt of this model says what a search is for, so an instruction has no place in it; the "
                'configuration can give one (embedder.prompts: {query: "Instruct: …\\nQuery: "})',
                field="instruction",
                code="no_instruction",
            )
        return prompt

    def _dimensions(self, request: EmbedRequest) -> int:
        full = self.files.dimensions
        if request.dimensions is None:
            return full
        if not 1 <= request.dimensions <= full:
            raise InvalidInput(
                f"dimensions must be between 1 and {full} for this model, not {request.dimensions}", field="dimensions"
            )
        return request.dimensions
