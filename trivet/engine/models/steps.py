"""What a checkpoint's files do with a pooled vector: layers of sentence-transformers, and heads that give scores.

All of it computes in fp32, whatever the precision of the encoder: a score that is rounded to 16 bits has few distinct
values, and the work is one vector of each sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from trivet.checkpoint.files import SINGLE_FILE, CheckpointMismatch, find_weight_files
from trivet.checkpoint.modules import Dense, LayerNorm, LogitScore, Normalize, Step
from trivet.checkpoint.templates import KNOWN
from trivet.errors import ModelError

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    name: getattr(nn, name) for name in ("Identity", "Tanh", "GELU", "ReLU", "SiLU", "Sigmoid")
}


def build_steps(steps: Iterable[Step]) -> nn.Sequential:
    """Load the layers behind the pooling: ``(S, inputs) fp32 -> (S, outputs) fp32``.

    Raises:
        ModelError: an activation is not known, or a folder lacks its tensors.
    """
    return nn.Sequential(*map(_built, steps))


def _built(step: Step) -> nn.Module:
    match step:
        case Dense():
            return _DenseLayer(step)
        case LayerNorm(folder, size):
            tensors = read_tensors(folder, ["norm.weight", "norm.bias"])
            _check_shapes(folder, {"norm.weight": (size,), "norm.bias": (size,)}, tensors)
            norm = nn.LayerNorm(size)
            norm.load_state_dict({key.removeprefix("norm."): tensor for key, tensor in tensors.items()})
            return norm
        case Normalize():
            return UnitLength()


class _DenseLayer(nn.Module):
    def __init__(self, step: Dense) -> None:
        super().__init__()
        package, _, activation = step.activation.rpartition(".")
        if not package.startswith("torch.nn") or activation not in _ACTIVATIONS:
            raise ModelError(
                f"{step.folder / 'config.json'}: activation_function {step.activation} is not supported: "
                f"{', '.join(_ACTIVATIONS)} of torch.nn are"
            )
        projects = step.has_residual and step.inputs != step.outputs
        shapes: dict[str, tuple[int, ...]] = {"linear.weight": (step.outputs, step.inputs)}
        if step.has_bias:
            shapes["linear.bias"] = (step.outputs,)
        if projects:
            shapes["residual.weight"] = (step.outputs, step.inputs)
        tensors = read_tensors(step.folder, list(shapes))
        _check_shapes(step.folder, shapes, tensors)
        if not step.has_bias and has_tensor(step.folder, "linear.bias"):
            raise CheckpointMismatch(f"{step.folder}: there is a linear.bias, but config.json says bias: false")
        self.linear = linear_of(tensors["linear.weight"], tensors.get("linear.bias"))
        self.activation = _ACTIVATIONS[activation]()
        self.residual: nn.Module | None = None
        if step.has_residual:
            self.residual = linear_of(tensors["residual.weight"]) if projects else nn.Identity()

    def forward(self, vectors: Tensor) -> Tensor:
        found: Tensor = self.activation(self.linear(vectors))
        return found if self.residual is None else found + self.residual(vectors)


def _check_shapes(folder: Path, shapes: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are not as large as their module's configuration says."""
    for name, shape in shapes.items():
        _check_shape(folder, name, tensors[name].shape, shape)


def _check_shape(folder: Path, name: str, found: Sequence[int], shape: tuple[int, ...]) -> None:
    if tuple(found) != shape:
        sizes, stated = (" × ".join(map(str, each)) or "one number" for each in (found, shape))
        raise CheckpointMismatch(f"{folder}: {name} is {sizes}; its configuration says {stated}")


class UnitLength(nn.Module):
    """``(S, H) -> (S, H)`` of length 1."""

    def forward(self, vectors: Tensor) -> Tensor:
        """See the class."""
        return functional.normalize(vectors, dim=-1)


class WordLogits(nn.Module):
    """The logit of one word as the next, less that of another: ``(S, H) -> (S, 1)``.

    It holds the rows of these words alone, out of a language-model head of the whole vocabulary.
    """

    def __init__(self, rows: Sequence[Tensor], softcap: float | None) -> None:
        super().__init__()
        self.linear = linear_of(torch.stack(list(rows)))
        self.softcap = softcap
        """Largest logit of models that squash theirs by a hyperbolic tangent."""

    def forward(self, vectors: Tensor) -> Tensor:
        """See the class."""
        logits: Tensor = self.linear(vectors)  # (S, 1 or 2)
        if self.softcap is not None:
            logits = self.softcap * torch.tanh(logits / self.softcap)
        return logits if logits.shape[1] == 1 else logits[:, :1] - logits[:, 1:]


def answering_words(folder: Path, recipe: str | None) -> LogitScore:
    """Return the ids of the words with which a causal reranker answers, where only the recipe names them.

    Raises:
        ModelError: there is no recipe, or the checkpoint's tokenizer lacks one of its words.
    """
    if recipe is None:
        raise ModelError(f"{folder} is a causal language model; set reranker.template to one of {', '.join(KNOWN)}")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    known = KNOWN[recipe]

    def id_of(word: str) -> int:
        found = tokenizer.token_to_id(word)
        if found is None:
            raise ModelError(f"{folder} has no token {word}, with which {recipe} answers")
        return int(found)

    return LogitScore(id_of(known.yes), None if known.no is None else id_of(known.no))


def ids_of_words(folder: Path, score: LogitScore, entries: int) -> list[int]:
    """Return the rows of a language-model head that a score needs.

    Raises:
        ModelError: the vocabulary has fewer entries.
    """
    ids = [score.true_id, *([] if score.false_id is None else [score.false_id])]
    if max(ids) >= entries:
        raise ModelError(f"{folder}: the words that answer have ids {ids}; the vocabulary ends before them")
    return ids


def linear_of(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """Make a linear layer of tensors, (outputs, inputs) and (outputs,), in fp32."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.float(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.float(), requires_grad=False)
    return layer


def read_bare_linear(folder: Path, name: str, shape: tuple[int, int]) -> nn.Linear:
    """Read a linear layer that has no bias, in fp32; `shape` is (outputs, inputs).

    Raises:
        CheckpointMismatch: it has a bias or another shape, or is missing.
    """
    if has_tensor(folder, f"{name}.bias"):
        raise CheckpointMismatch(f"{folder} holds {name}.bias; this layer has no bias")
    tensors = read_tensors(folder, [f"{name}.weight"])
    _check_shapes(folder, {f"{name}.weight": shape}, tensors)
    return linear_of(tensors[f"{name}.weight"])


def read_tensors(folder: Path, names: Sequence[str]) -> dict[str, Tensor]:
    """Read some tensors of a folder's safetensors files, in fp32.

    Raises:
        ModelError: the files are missing or are pickles.
        CheckpointMismatch: a tensor is missing; the message names it.
    """
    found: dict[str, Tensor] = {}
    for file in find_weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            found |= {name: opened.get_tensor(name).float() for name in names if name in opened.keys()}  # noqa: SIM118
    if missing := [name for name in names if name not in found]:
        raise CheckpointMismatch(f"{folder / SINGLE_FILE} has no {', '.join(missing)}")
    return found


def has_tensor(folder: Path, name: str) -> bool:
    """Whether a folder's safetensors files hold a tensor of this name."""
    for file in find_weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            if name in opened.keys():  # noqa: SIM118 - not a mapping
                return True
    return False


def read_rows(folder: Path, name: str, rows: Sequence[int], shape: tuple[int, int]) -> list[Tensor]:
    """Read some rows of a large matrix, each (columns,) fp32, without reading the others.

    Raises:
        ModelError: as `read_tensors`.
        CheckpointMismatch: the matrix is missing or has another shape.
    """
    for file in find_weight_files(folder):
        with safe_open(file, framework="pt") as opened:
            if name in opened.keys():  # noqa: SIM118 - not a mapping
                matrix = opened.get_slice(name)
                _check_shape(folder, name, matrix.get_shape(), shape)
                return [matrix[row : row + 1][0].float() for row in rows]
    raise CheckpointMismatch(f"{folder / SINGLE_FILE} has no {name}")
