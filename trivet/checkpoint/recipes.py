"""Names for what some checkpoints are used as, although none of their files says so."""

from trivet.checkpoint.templates import KNOWN

SPLADE = "splade"
"""A masked language model whose logits are weights over the vocabulary."""

RECIPES: tuple[str, ...] = (*KNOWN, SPLADE)
"""All of them: the templates of causal rerankers, and `SPLADE`."""


def is_named_splade(model_name: str) -> bool:
    """Whether a hub id or a folder's name is that of a SPLADE."""
    return SPLADE in model_name.rpartition("/")[2].lower()
