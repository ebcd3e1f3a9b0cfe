"""The whole description of a checkpoint that the flat modules compute, or the reason why they do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from trivet.checkpoint.files import CheckpointMismatch, read_config
from trivet.checkpoint.flat.decoders import DecoderConfig, is_decoder, read_decoder
from trivet.checkpoint.flat.encoders import EncoderConfig, is_encoder, read_encoder
from trivet.checkpoint.flat.fields import Config, UnsupportedArchitecture
from trivet.checkpoint.flat.heads import HeadConfig, read_head
from trivet.config import Task

BodyConfig: TypeAlias = EncoderConfig | DecoderConfig


@dataclass(frozen=True, slots=True)
class FlatConfig:
    """A checkpoint for one task."""

    body: BodyConfig
    head: HeadConfig


def read_flat(model_dir: Path, task: Task, recipe: str | None = None) -> FlatConfig:
    """Describe a checkpoint for one task.

    Args:
        model_dir: the checkpoint directory.
        task: the task that it is to serve.
        recipe: how it is used where no file says so; see `trivet.checkpoint.modules.read_modules`.

    Raises:
        UnsupportedArchitecture: the flat modules do not compute it; the message names the field and its value.
        CheckpointMismatch: its fields contradict each other.
        ModelError: a file of the checkpoint cannot be read.
    """
    config = read_config(model_dir)
    body = read_body(config)
    return FlatConfig(body, read_head(model_dir, task, recipe, config, body))


def read_body(config: Config) -> BodyConfig:
    """Describe what computes the hidden states of tokens, from config.json alone; see `read_flat`."""
    kind = config.get("model_type")
    if config.get("quantization_config"):
        raise UnsupportedArchitecture("its weights are quantised (quantization_config)")
    if is_encoder(kind):
        return read_encoder(config)
    if is_decoder(kind):
        return read_decoder(config)
    raise UnsupportedArchitecture(f"the model type is {kind!r}")


def padded_because(model_dir: Path, task: Task, recipe: str | None = None) -> str | None:
    """Return why a GPU computes a checkpoint on padded sequences, through transformers; None where it does not.

    Raises:
        ModelError: a file of the checkpoint cannot be read.
    """
    try:
        read_flat(model_dir, task, recipe)
    except (UnsupportedArchitecture, CheckpointMismatch) as error:
        return error.message
    return None
