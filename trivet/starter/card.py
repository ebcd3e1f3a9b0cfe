"""`model.json`, the part of a model card that the program reads: what the delta applies to, and how to load it."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trivet.errors import ModelError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class BaseReference(_Frozen):
    """The exact weights a delta is relative to."""

    distribution: str
    version: str
    sha256: dict[str, str]
    """Hex digest by file name, of every base file that enters the assembled model."""


class ModelCard(_Frozen):
    """Everything needed to turn base + delta into a model directory."""

    format: Literal[1] = 1
    task: Literal["reranker", "classifier"]
    version: str
    """Of the weights, for people: the folder of an assembled model is keyed by content, not by this."""
    base: BaseReference
    delta_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    id2label: dict[int, str]
    """Label of every output; a single one means a regression-like score."""
    max_tokens: Annotated[int, Field(gt=2)] = 512
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Score below which an answer had better be left out, as measured: of a relation, or of a candidate."""
    config: dict[str, Any] = {}
    """Further entries of the assembled config.json."""
    metrics: dict[str, Any] = {}
    """Measured on the shipped weights: quantised, assembled, in the engine's precision."""


def read_card(path: Path) -> ModelCard:
    """Read and check a `model.json`."""
    try:
        return ModelCard.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: this installation carries no such starter model") from error
    except ValidationError as error:
        raise ModelError(f"{path} is not a model card this version can read: {error}") from error
