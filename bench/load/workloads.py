"""Seeded work for the engine benchmark: calls of four sequences, lengths counted by the model's own tokenizer.

`mixed` is log-normal around 120 tokens; `short` is between 8 and 40. Lengths step through the quantiles of the
distribution by the golden ratio, so that every part of the workload has nearly the same mix. A contender that processes
thirty sequences therefore gets the same lengths as one that processes three thousand.

No text exceeds the model's limit. The other libraries truncate such texts, and Trivet reads them in windows, so their
work could not be compared.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Literal, get_args

from bench.load.texts import corpus
from trivet.config import Task
from trivet.engine.text.tokenizer import TextTokenizer

WorkloadName = Literal["mixed", "short"]
WORKLOADS: tuple[WorkloadName, ...] = get_args(WorkloadName)

SEQUENCES_PER_CALL = 4
MEDIAN_TOKENS = 120
SIGMA = 0.9
SHORT_TOKENS = (8, 40)
QUERY_TOKENS = 10
HYPOTHESES = (
    "The first text depends on the second.",
    "The second text expands on the first.",
    "The two texts contradict each other.",
    "The two texts are unrelated.",
)
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True, slots=True)
class Call:
    """One request of four sequences.

    Embedding: `others` are the texts. Reranking: `first` is the query, `others` the documents. Classification:
    `first` is the premise, `others` the hypotheses.
    """

    first: str
    others: tuple[str, ...]
    lengths: tuple[int, ...]
    """Tokens of each sequence, including special tokens."""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(first, other) for each sequence."""
        return [(self.first, other) for other in self.others]


def target_lengths(workload: WorkloadName, max_tokens: int, seed: int) -> Iterator[int]:
    """Yield lengths in tokens without end, with nearly the same mix in every part."""
    place = random.Random(seed).random()
    while True:
        place = (place + _GOLDEN) % 1.0
        if workload == "short":
            low, high = SHORT_TOKENS
            yield low + round(place * (high - low))
        else:
            deviation = NormalDist().inv_cdf(min(max(place, 1e-6), 1 - 1e-6))
            yield max(4, min(max_tokens, round(MEDIAN_TOKENS * math.exp(SIGMA * deviation))))


class Writer:
    """Writes texts of a given number of tokens from real code and prose."""

    def __init__(self, tokenizer: TextTokenizer, seed: int) -> None:
        self._tokenizer = tokenizer.raw
        self._random = random.Random(seed)

    def text(self, tokens: int) -> str:
        """Return a text of about `tokens` tokens, never more, which ends at a token's end."""
        written = ""
        while True:
            written += self._random.choice(corpus()) + "\n"
            if len(written) < 2 * tokens:
                continue  # too short for that many tokens, so do not encode it
            encoding = self._tokenizer.encode(written, add_special_tokens=False)
            if len(encoding.ids) >= tokens:
                break
        for end in range(tokens, 0, -1):
            text = written[: encoding.offsets[end - 1][1]]
            # Tokens can merge differently at the end of a cut text, so count again.
            if len(self._tokenizer.encode(text, add_special_tokens=False).ids) <= tokens:
                return text
        return ""


def calls(task: Task, model: Path, workload: WorkloadName, max_tokens: int, count: int, seed: int = 0) -> list[Call]:
    """Write the first `count` calls of a workload. The same arguments give the same texts on the same Python."""
    tokenizer = TextTokenizer.from_dir(model)
    special = tokenizer.special
    writer = Writer(tokenizer, seed)
    wanted = target_lengths(workload, max_tokens, seed)

    def length(text: str) -> int:
        return len(tokenizer.raw.encode(text, add_special_tokens=False).ids)

    made: list[Call] = []
    for _ in range(count):
        if task == "embedder":
            others = tuple(writer.text(next(wanted) - special.single_tokens) for _ in range(SEQUENCES_PER_CALL))
            lengths = tuple(length(text) + special.single_tokens for text in others)
            made.append(Call("", others, lengths))
        elif task == "reranker":
            query = writer.text(QUERY_TOKENS)
            fixed = length(query) + special.pair_tokens
            others = tuple(writer.text(max(2, next(wanted) - fixed)) for _ in range(SEQUENCES_PER_CALL))
            made.append(Call(query, others, tuple(length(text) + fixed for text in others)))
        else:
            longest = max(length(hypothesis) for hypothesis in HYPOTHESES) + special.pair_tokens
            premise = writer.text(max(2, min(next(wanted), max_tokens - longest)))
            fixed = length(premise) + special.pair_tokens
            made.append(Call(premise, HYPOTHESES, tuple(length(text) + fixed for text in HYPOTHESES)))
    return made
