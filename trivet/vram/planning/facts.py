"""Facts of known models, so that planning needs no download, and the way to those of any other checkpoint."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from trivet.checkpoint.hub import fetched
from trivet.checkpoint.memory import ModelFacts, facts_from_directory
from trivet.errors import ModelError


def _modernbert(name: str, parameters: int, *, large: bool = False) -> ModelFacts:
    return ModelFacts(
        name=name,
        parameters=parameters,
        hidden=1024 if large else 768,
        feed_forward=2624 if large else 1152,
        heads=16 if large else 12,
        max_tokens=8192,
        gated=True,
    )


def _minilm(name: str, parameters: int, max_tokens: int) -> ModelFacts:
    return ModelFacts(name=name, parameters=parameters, hidden=384, feed_forward=1536, heads=12, max_tokens=max_tokens)


_CATALOGUE = (
    ModelFacts(
        name="nomic-ai/nomic-embed-text-v2-moe",
        parameters=475_292_928,  # all eight experts are resident, though only two process each token
        hidden=768,
        feed_forward=3072,
        heads=12,
        max_tokens=512,
        experts_per_token=2,
    ),
    ModelFacts(
        name="BAAI/bge-reranker-base",
        parameters=278_044_417,
        hidden=768,
        feed_forward=3072,
        heads=12,
        max_tokens=512,
    ),
    _modernbert("MoritzLaurer/ModernBERT-large-zeroshot-v2.0", 395_833_346, large=True),
    _modernbert("Alibaba-NLP/gte-modernbert-base", 149_014_272),
    _modernbert("Alibaba-NLP/gte-reranker-modernbert-base", 149_605_633),
    _modernbert("MoritzLaurer/ModernBERT-base-zeroshot-v2.0", 149_606_402),
    _minilm("sentence-transformers/all-MiniLM-L6-v2", 22_713_216, 256),
    _minilm("cross-encoder/ms-marco-MiniLM-L6-v2", 22_713_601, 512),
    ModelFacts(
        name="MoritzLaurer/deberta-v3-xsmall-zeroshot-v1.1-all-33",
        parameters=70_830_722,  # 22 M of them in the encoder, the rest in the embedding table
        hidden=384,
        feed_forward=1536,
        heads=6,
        max_tokens=512,
        attention="eager",
    ),
)

CATALOGUE: Mapping[str, ModelFacts] = MappingProxyType({facts.name: facts for facts in _CATALOGUE})
"""Facts of the presets' models, so that planning needs no download."""


def facts_for(name: str) -> ModelFacts:
    """Look up a catalogue name (the part after the slash suffices), or read a directory or a model fetched before.

    Raises `ModelError`, which lists the known names, if `name` is none of these.
    """
    for known, facts in CATALOGUE.items():
        if name in (known, known.split("/")[-1]):
            return facts
    given = Path(os.path.expanduser(name))  # a shell expands `~` at the start of a list only
    if given.is_dir():
        return replace(facts_from_directory(given), name=str(given))  # two folders may end in the same name
    directory = fetched(name)
    if directory is not None:
        return replace(facts_from_directory(directory), name=name)
    raise ModelError(f"{name}: no local directory, not fetched from the hub, and none of {', '.join(CATALOGUE)}")
