"""What a graph is asked for, and what a run counts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.dispatch.protocol import Routed
from trivet.messages import EngineResult, Priority


@dataclass(frozen=True, slots=True)
class GraphQuery:
    """Which relations to look for, and how many."""

    relations: Mapping[str, str]
    """Label → hypothesis."""
    no_relation: str | None
    symmetric: frozenset[str]
    """Labels without a direction."""
    threshold: float
    min_relevance: float
    passage_tokens: int
    link_relation: str | None = None
    """The relation of code that uses what other code defines. None: the classifier alone names it."""
    clear_unrelated: float | None = None
    """Score of `no_relation`, read alone, from which a pair is read no further; see `classify_pairs`."""
    passage_pairs: int = 3
    neighbours: int = 8
    per_document: int = 10
    include_unrelated: bool = False
    done: frozenset[int] = frozenset()
    """Positions of the documents whose edges are known already."""
    priority: Priority = "bulk"
    no_store: bool = False


@dataclass(slots=True)
class Counts:
    """What a run read and left out."""

    passages: int = 0
    pairs_imported: int = 0
    pairs_classified: int = 0
    pairs_reranked: int = 0
    edges: int = 0
    unrelated_omitted: int = 0
    below_threshold: int = 0
    below_min_relevance: int = 0
    beyond_per_document: int = 0
    truncated: int = 0
    tokens: int = 0
    devices: dict[str, None] = field(default_factory=dict)

    def add(self, routed: Routed[EngineResult]) -> None:
        """Count a call."""
        self.tokens += routed.result.usage.tokens
        self.truncated += sum(routed.result.usage.truncated)
        self.devices[routed.result.device] = None
