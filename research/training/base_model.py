"""The encoder that every starter model begins from: all-MiniLM-L6-v2 with a fresh classification head."""

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import BertForSequenceClassification
from transformers.utils import logging as transformers_logging

from trivet.starter.assemble import assemble
from trivet.starter.base import base_model_dir
from trivet.starter.card import read_card


def load_base(*, num_labels: int, dropout: float = 0.0) -> BertForSequenceClassification:
    """Load the base encoder with a new head of `num_labels` outputs, word and position embeddings frozen.

    Freezing them spares 11.7 M gradients and Adam moments per step, and is what lets the shipped delta leave
    them out. Dropout defaults to none: a single pass over the data does not overfit, and on a CPU drawing the
    masks costs a third of the step. Attention is eager because the CPU's fused attention has a slow backward.
    """
    quiet_transformers()
    model = BertForSequenceClassification.from_pretrained(
        base_model_dir(),
        num_labels=num_labels,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        attn_implementation="eager",
    )
    freeze_embedding_tables(model)
    return model


def load_trained(model_dir: Path) -> BertForSequenceClassification:
    """Load an assembled starter model for evaluation, or to continue from."""
    return BertForSequenceClassification.from_pretrained(model_dir, attn_implementation="eager", dtype=torch.float32)


def initial_weights(init: str, shipped: Path) -> dict[str, torch.Tensor]:
    """Weights to begin from: those of a run's `checkpoint.pt`, or, for `shipped`, of the model in that folder.

    A temperature that its card states is taken out of the head again.
    """
    if init != "shipped":
        weights: dict[str, torch.Tensor] = torch.load(init, weights_only=True)["model"]
        return weights
    temperature = read_card(shipped / "model.json").metrics.get("temperature", 1.0)
    with TemporaryDirectory() as folder:
        state = load_trained(assemble(shipped, Path(folder))).state_dict()
    return {
        name: value * temperature if name.startswith("classifier.") else value.clone() for name, value in state.items()
    }


def quiet_transformers() -> None:
    """Silence transformers: a missing head or an unused pooler is meant here, and bars belong to the training."""
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()


def freeze_embedding_tables(model: BertForSequenceClassification) -> None:
    """Stop gradients at the word and position tables; token types and LayerNorms still learn."""
    embeddings = model.bert.embeddings
    embeddings.word_embeddings.weight.requires_grad_(False)
    embeddings.position_embeddings.weight.requires_grad_(False)
