"""The timing headers of text-embeddings-inference, and Trivet's."""

import time
from collections.abc import Iterable, Sequence

from trivet.api.answers import route_headers
from trivet.dispatch.protocol import Routed
from trivet.messages import EngineResult


def tei_headers(calls: Sequence[Routed[EngineResult]], started_s: float, texts: Iterable[str]) -> dict[str, str]:
    """Whole milliseconds. The total is measured since `started_s` (monotonic), the stages by the replica."""
    total_ms = _ms(time.monotonic() - started_s)
    timings = [routed.result.timings for routed in calls]
    return {
        **route_headers(calls),
        "x-compute-type": "+".join(dict.fromkeys(routed.lane for routed in calls)),
        "x-compute-time": total_ms,
        "x-compute-characters": str(sum(len(text) for text in texts)),
        "x-compute-tokens": str(sum(routed.result.usage.tokens for routed in calls)),
        "x-total-time": total_ms,
        "x-tokenization-time": _ms(sum(stage.tokenize_s for stage in timings)),
        "x-queue-time": _ms(sum(stage.queue_s for stage in timings)),
        "x-inference-time": _ms(sum(stage.forward_s for stage in timings)),
    }


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
