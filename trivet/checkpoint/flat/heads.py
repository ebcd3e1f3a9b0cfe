"""What follows the body of a checkpoint: a classification head of its own, pooling, or the logits of words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from trivet.checkpoint.architecture import Architecture
from trivet.checkpoint.flat.bert import BertConfig
from trivet.checkpoint.flat.decoders import DecoderConfig
from trivet.checkpoint.flat.encoders import EncoderConfig
from trivet.checkpoint.flat.fields import Config, UnsupportedArchitecture, activation, flag, label_count
from trivet.checkpoint.flat.modernbert import ModernBertConfig
from trivet.checkpoint.flat.rotary_encoder import RotaryEncoderConfig
from trivet.checkpoint.m3 import M3Heads
from trivet.checkpoint.modules import LogitScore, Step, read_modules
from trivet.config import Task

Pool = Literal["cls", "mean"]

_LINEAR_POOLING = frozenset({"cls", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"})
"""Pooling modes of which a linear layer before them equals one behind them."""


@dataclass(frozen=True, slots=True)
class ClassifierHeadConfig:
    """An encoder's own head: pool, dense, activation, for some a norm, then one logit per label."""

    labels: int
    activation: str
    dense_tensor: str
    """Published names."""
    output_tensor: str
    norm_tensor: str | None = None
    """None: there is no norm."""
    pool: Pool = "cls"
    dense_bias: bool = True
    norm_bias: bool = False
    norm_eps: float = 1e-5


@dataclass(frozen=True, slots=True)
class PooledHeadConfig:
    """Pooling, and the modules of modules.json behind it."""

    pooling: tuple[str, ...]
    steps: tuple[Step, ...] = ()
    projection: int | None = None
    """Outputs of the layer `linear` in the encoder's file, which comes before the modules; None: there is none."""


@dataclass(frozen=True, slots=True)
class LabelHeadConfig:
    """A decoder's own head: one logit per label from the last token, without a bias."""

    labels: int


@dataclass(frozen=True, slots=True)
class WordHeadConfig:
    """The logit of one word as the next, less that of another."""

    score: LogitScore | None
    """None: the words are those of the recipe."""
    recipe: str | None
    ties_words: bool
    most_logit: float | None


HeadConfig: TypeAlias = ClassifierHeadConfig | PooledHeadConfig | LabelHeadConfig | WordHeadConfig


def read_head(
    model_dir: Path, task: Task, recipe: str | None, config: Config, body: EncoderConfig | DecoderConfig
) -> HeadConfig:
    """Describe what follows the body.

    Args:
        model_dir: the checkpoint directory.
        task: the task that it is to serve.
        recipe: see `trivet.checkpoint.modules.read_modules`.
        config: the content of config.json.
        body: its description.

    Raises:
        UnsupportedArchitecture: the head is none of these.
        ModelError: a file of the checkpoint cannot be read.
    """
    architecture = Architecture(model_dir.name, config)
    modules = read_modules(model_dir, task, recipe)
    if modules.splade or modules.token_steps or (task == "embedder" and M3Heads.read(model_dir)):
        raise UnsupportedArchitecture("it gives more than one vector or number of a text")
    projection = architecture.token_vector_size if architecture.projects_tokens else None
    if modules.pooling:
        if projection is not None and not (len(modules.pooling) == 1 and _LINEAR_POOLING.issuperset(modules.pooling)):
            raise UnsupportedArchitecture(
                f"pooling {', '.join(modules.pooling)} of projected tokens is not implemented"
            )
        return PooledHeadConfig(modules.pooling, modules.steps_before_windows, projection)
    if task == "embedder" or projection is not None:
        raise UnsupportedArchitecture("there is no pooling")
    answers = modules.score is not None or architecture.scores_by_words
    if not isinstance(body, DecoderConfig):
        if answers:
            raise UnsupportedArchitecture("it is an encoder that scores by words")
        return read_classifier(config, body, task)
    if answers:
        if task != "reranker":
            raise UnsupportedArchitecture(f"a causal language model cannot serve as a {task}")
        return WordHeadConfig(modules.score, recipe, body.ties_words, body.most_logit)
    return LabelHeadConfig(label_count(config))


def read_classifier(config: Config, body: EncoderConfig, task: Task) -> ClassifierHeadConfig:
    """Describe an encoder's own head.

    Raises:
        UnsupportedArchitecture: the family has none, or a field's value is not implemented.
    """
    if isinstance(body, ModernBertConfig):
        return _modernbert(config, body)
    if isinstance(body, RotaryEncoderConfig) and body.naming == "nomic":
        kind = config["model_type"]
        raise UnsupportedArchitecture(f"the model type is {kind!r}, an embedder's; it cannot serve as a {task}")
    labels = label_count(config)
    if isinstance(body, BertConfig) and body.naming == "distilbert":
        return ClassifierHeadConfig(labels, "relu", "pre_classifier", "classifier")
    if config["model_type"] in ("bert", "gte", "new"):
        return ClassifierHeadConfig(labels, "tanh", "pooler.dense", "classifier")
    function = "gelu" if config["model_type"] == "electra" else "tanh"
    return ClassifierHeadConfig(labels, function, "classifier.dense", "classifier.out_proj")


def _modernbert(config: Config, body: ModernBertConfig) -> ClassifierHeadConfig:
    pool: Any = config.get("classifier_pooling", "cls")
    if pool not in ("cls", "mean"):
        raise UnsupportedArchitecture(f"classifier_pooling is {pool!r}; cls and mean are implemented")
    return ClassifierHeadConfig(
        labels=label_count(config),
        activation=activation(config, "classifier_activation", "gelu"),
        dense_tensor="head.dense",
        output_tensor="classifier",
        norm_tensor="head.norm",
        pool=pool,
        dense_bias=flag(config, "classifier_bias"),
        norm_bias=body.norm_bias,
        norm_eps=body.norm_eps,
    )
