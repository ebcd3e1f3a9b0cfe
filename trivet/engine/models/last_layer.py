"""Replaces the layer that gives a classifier's logits: its precision decides how many scores are distinct."""

from collections.abc import Callable
from typing import Any

from torch import nn

from trivet.engine.models.load import SequenceClassifier


def replace_last_layer(model: SequenceClassifier, replacement: Callable[[nn.Linear], nn.Module]) -> None:
    """Put a replacement in the layer's place. A classifier that names it otherwise than transformers' families stays.

    Args:
        model: changed in place.
        replacement: makes it from the layer.
    """
    classifier: Any = model.model
    for owner, name in ((getattr(classifier, "classifier", None), "out_proj"), (classifier, "classifier")):
        layer = getattr(owner, name, None)
        if isinstance(layer, nn.Linear):
            setattr(owner, name, replacement(layer))
            return
