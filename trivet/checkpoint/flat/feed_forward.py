"""The form of a feed-forward block, which the families of encoders and decoders share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FeedForwardConfig:
    """A feed-forward block; gated (GLU) ones multiply the activation by a second product."""

    activation: str
    gated: bool
    inner_bias: bool
    outer_bias: bool
    activates_second: bool = False
    """Of a gated block, whether the second half of the joint product is activated instead of the first."""
