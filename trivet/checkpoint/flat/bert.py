"""The BERT family as config.json describes it: BERT, Electra, RoBERTa, XLM-RoBERTa, CamemBERT and DistilBERT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from trivet.checkpoint.architecture import POSITIONS_AFTER_PADDING
from trivet.checkpoint.flat.fields import (
    Config,
    UnsupportedArchitecture,
    activation,
    head_count,
    only,
    positive,
    size,
)


@dataclass(frozen=True, slots=True)
class BertConfig:
    """An encoder of the BERT family: post-norm layers and learned positions."""

    naming: Literal["bert", "distilbert"]
    """Whose names its tensors have."""
    prefix: str
    """What a checkpoint with a head puts before the encoder's tensors."""
    vocab_size: int
    hidden_size: int
    embedding_size: int
    """Differs from `hidden_size` for small Electras, which project their embeddings."""
    heads: int
    inner_size: int
    layers: int
    positions: int
    """Rows of the position table."""
    padding_id: int | None
    """Where the table's rows are counted from the one behind this id, and tokens of this id are not counted; None:
    they are counted from 0."""
    token_types: int
    """0 where there is no table of them."""
    activation: str
    norm_eps: float

    @property
    def head_size(self) -> int:
        """Channels of an attention head."""
        return self.hidden_size // self.heads

    @property
    def max_tokens(self) -> int:
        """Tokens of the longest sequence that has a position for each."""
        return self.positions - (0 if self.padding_id is None else self.padding_id + 1)


@dataclass(frozen=True, slots=True)
class _Family:
    """Where the members of the BERT family differ, beside the sizes."""

    prefix: str
    default_sizes: tuple[int, int, int] = (768, 12, 3072)
    """Hidden size, heads and inner size where config.json names none."""
    default_embedding_size: int | None = None
    """None: as the hidden size."""


_ROBERTA = _Family("roberta.")
BERT_LIKE: Final = {
    "bert": _Family("bert."),
    "electra": _Family("electra.", default_sizes=(256, 4, 1024), default_embedding_size=128),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "camembert": _ROBERTA,
}
"""Model types of one architecture."""


def read_bert(config: Config) -> BertConfig:
    """Read the config.json of a member of `BERT_LIKE`; raises as `trivet.checkpoint.flat.encoders.read_encoder`."""
    kind = config["model_type"]
    family = BERT_LIKE[kind]
    only(config, "is_decoder", False)
    only(config, "add_cross_attention", False)
    only(config, "position_embedding_type", "absolute")
    hidden_size, heads, inner_size = family.default_sizes
    hidden = size(config, "hidden_size", default=hidden_size)
    embedding = family.default_embedding_size
    return BertConfig(
        naming="bert",
        prefix=family.prefix,
        vocab_size=size(config, "vocab_size"),
        hidden_size=hidden,
        embedding_size=size(config, "embedding_size", default=embedding) if embedding else hidden,
        heads=head_count(config, ("num_attention_heads",), hidden, default=heads),
        inner_size=size(config, "intermediate_size", default=inner_size),
        layers=size(config, "num_hidden_layers", default=12),
        positions=size(config, "max_position_embeddings", default=512),
        padding_id=_padding_id(config) if kind in POSITIONS_AFTER_PADDING else None,
        token_types=size(config, "type_vocab_size", default=2),
        activation=activation(config, "hidden_act", "gelu"),
        norm_eps=positive(config, "layer_norm_eps", 1e-12),
    )


def _padding_id(config: Config) -> int:
    """The default is that of the classes in transformers."""
    padding = config.get("pad_token_id", 1)
    if not isinstance(padding, int) or padding < 0:
        raise UnsupportedArchitecture(f"pad_token_id is {padding!r}, and positions begin after it")
    return padding


def read_distilbert(config: Config) -> BertConfig:
    """Read the config.json of a DistilBERT, whose fields have other names."""
    hidden = size(config, "dim", "hidden_size", default=768)
    return BertConfig(
        naming="distilbert",
        prefix="distilbert.",
        vocab_size=size(config, "vocab_size", default=30_522),
        hidden_size=hidden,
        embedding_size=hidden,
        heads=head_count(config, ("n_heads", "num_attention_heads"), hidden, default=12),
        inner_size=size(config, "hidden_dim", default=3072),
        layers=size(config, "n_layers", "num_hidden_layers", default=6),
        positions=size(config, "max_position_embeddings", default=512),
        padding_id=None,
        token_types=0,
        activation=activation(config, "activation", "gelu"),
        norm_eps=1e-12,  # no field: transformers has the number in its code
    )
