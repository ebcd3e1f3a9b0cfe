"""`model.json`, the machine-readable part of a model card: the base of the delta, and how to load the result."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trivet.config import BlendConfig
from trivet.errors import ModelError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class BaseReference(_Frozen):
    """The exact base weights of a delta."""

    distribution: str
    version: str
    sha256: dict[str, str]
    """Hex digest by file name, of every base file that the assembled model uses."""


class StarterCard(_Frozen):
    """Everything needed to assemble base and delta into a model directory."""

    format: Literal[1] = 1
    task: Literal["reranker", "classifier"]
    version: str
    """Human-readable version of the weights; the folder of an assembled model is keyed by content instead."""
    base: BaseReference
    delta_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    id2label: dict[int, str]
    """Label of each output; a single label stands for a regression score."""
    max_tokens: Annotated[int, Field(gt=2)] = 512
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Calibrated minimum score of a relation (classifier) or a candidate (reranker)."""
    clear_unrelated: Annotated[float, Field(gt=0, le=1)] | None = None
    """Of a classifier: score of the default relation "unrelated", read alone, from which two texts are unrelated."""
    blend: BlendConfig | None = None
    """Of a reranker that ranks better with the starter embedder: how its cosine enters the score."""
    config: dict[str, Any] = {}
    """Further entries of the assembled config.json."""
    metrics: dict[str, Any] = {}
    """Figures of the shipped weights, measured after quantisation and assembly, in the engine's precision."""


def read_card(path: Path) -> StarterCard:
    """Read and validate a `model.json`. Raises ModelError if it is missing or invalid."""
    try:
        return StarterCard.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ModelError(f"{path} is missing: this installation carries no such starter model") from error
    except ValidationError as error:
        raise ModelError(f"{path} is not a model card that this version can read: {error}") from error
