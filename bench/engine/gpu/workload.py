"""What every contender on a GPU reads: the calls of `bench.load.workloads`, in requests of four sequences or more.

A request of 32 sequences joins eight calls: their texts, their documents behind one query, or their premises with the
same hypotheses. Lengths stay exact.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from bench.engine.shapes import Shape
from bench.load.workloads import HYPOTHESES, SEQUENCES_PER_CALL, Call, WorkloadName, calls
from trivet.config import Task
from trivet.engine.text.tokenizer import TextTokenizer
from trivet.messages import ClassifyRequest, EmbedRequest, EngineRequest, PairText, RerankRequest


@dataclass(frozen=True, slots=True)
class Workload:
    """Calls of one shape. `query_tokens` are those of each call's first text, without special tokens."""

    task: Task
    calls: list[Call]
    query_tokens: list[int]

    @classmethod
    def write_to(cls, file: Path, shape: Shape, directory: Path, name: WorkloadName, count: int) -> None:
        """Write the first `count` calls of a shape's workload."""
        made = calls(shape.task, directory, name, shape.max_tokens, count)
        tokenizer = TextTokenizer.from_dir(directory).raw
        queries = [len(tokenizer.encode(call.first, add_special_tokens=False).ids) for call in made]
        file.write_text(json.dumps({"task": shape.task, "calls": [asdict(c) for c in made], "queries": queries}))

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write_to` wrote."""
        content = json.loads(file.read_text())
        listed = [Call(c["first"], tuple(c["others"]), tuple(c["lengths"])) for c in content["calls"]]
        return cls(content["task"], listed, content["queries"])

    def requests(self, sequences: int) -> list["Sized"]:
        """Join the calls into requests of so many sequences each."""
        per_request = sequences // SEQUENCES_PER_CALL
        starts = range(0, len(self.calls) - per_request + 1, per_request)
        return [
            self._joined(self.calls[at : at + per_request], self.query_tokens[at : at + per_request]) for at in starts
        ]

    def _joined(self, joined: Sequence[Call], queries: Sequence[int]) -> "Sized":
        others = tuple(text for call in joined for text in call.others)
        lengths = tuple(length for call in joined for length in call.lengths)
        if self.task == "embedder":
            return Sized(EmbedRequest(others), lengths)
        if self.task == "reranker":
            exact = tuple(
                length - own + queries[0] for call, own in zip(joined, queries, strict=True) for length in call.lengths
            )
            return Sized(RerankRequest(joined[0].first, others), exact)
        premises = tuple(PairText(call.first) for call in joined)
        return Sized(ClassifyRequest(premises, {text: text for text in HYPOTHESES}), lengths)


@dataclass(frozen=True, slots=True)
class Sized:
    """A request, and the tokens of each of its sequences."""

    request: EngineRequest
    lengths: tuple[int, ...]
