"""Classifies pairs of passages: by the relation that means none first, and by the others where that leaves doubt.

Each relation is one more reading of both passages, and most pairs have none. Relations and graphs read pairs by this
function alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from trivet.dispatch.protocol import Dispatcher, Routed
from trivet.errors import remap_field_index
from trivet.messages import ClassifyRequest, ClassifyResult, Floats


@dataclass(frozen=True, slots=True)
class Classified:
    """What the classifier says about some pairs, and the calls that it took."""

    scores: Floats
    """(pairs, relations), in the request's order of both."""
    windows: Sequence[int]
    truncated: Sequence[bool]
    calls: Sequence[Routed[ClassifyResult]]


async def classify_pairs(dispatcher: Dispatcher, request: ClassifyRequest, clear_unrelated: float | None) -> Classified:
    """Answer a request of relations by one call, or by two that read no more together.

    Args:
        dispatcher: answers the calls.
        request: pairs, all relations, and which of them means none.
        clear_unrelated: score of that one, read alone, from which the others are not read and count as 0. None: all
            relations are read at once.
    """
    label = request.no_relation_label
    if clear_unrelated is None or label is None or label not in request.hypotheses:
        routed = await dispatcher.call(request)
        return Classified(routed.result.scores, routed.result.usage.windows, routed.result.usage.truncated, [routed])
    column = list(request.hypotheses).index(label)
    first = await dispatcher.call(replace(request, hypotheses={label: request.hypotheses[label]}))
    usage = first.result.usage
    scores = np.zeros((len(request.inputs), len(request.hypotheses)), np.float32)
    scores[:, column] = first.result.scores[:, 0]
    left = np.flatnonzero(scores[:, column] < clear_unrelated).tolist()
    if not left:
        return Classified(scores, usage.windows, usage.truncated, [first])
    others = {name: hypothesis for name, hypothesis in request.hypotheses.items() if name != label}
    pairs = tuple(request.inputs[at] for at in left)
    with remap_field_index(left):
        second = await dispatcher.call(replace(request, inputs=pairs, hypotheses=others, no_relation_label=None))
    scores[left] = _softmax(np.insert(second.result.logits, column, first.result.logits[left, 0], axis=1))
    return Classified(scores, usage.windows, usage.truncated, [first, second])


def _softmax(logits: Floats) -> Floats:
    """Return the shares of (pairs, relations) entailment logits, as the classifier computes them for one call."""
    grown = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = (grown / grown.sum(axis=1, keepdims=True)).astype(np.float32)
    return shares
