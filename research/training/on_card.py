"""Train a starter model on a GPU that is there for a minute or two: `python -m research.training.on_card --task …`.

What runs here needs torch, numpy and safetensors only: `research.classifier.pack` and `research.reranker.pack` have put
texts into token arrays before, and `research.training.pack_base` the encoder. The time is fixed, not the number of
steps: the learning rate is a function of the share of the seconds that have passed, and ends at zero when they have.

Writes the trained weights in fp16, in files of at most `PART_BYTES`, and a log. `research.training.bring_home` makes
the model that ships from them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import Tensor

from research.training.carried import decode_12_bit, in_parts
from research.training.flat_weights import FlatWeights
from research.training.packed import Array, PaddedRows, Pool, Ragged, pad_rows, read_arrays
from research.training.plain_encoder import TokenBatch, head_logits
from trivet.starter.delta import apply_delta

PART_BYTES = 15 * 1024**2
WARM_UP = 0.04
"""Share of the time in which the rate rises."""
REPORT_EVERY_S = 5.0
CHECKPOINT_EVERY_S = 30.0


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of the optimiser sees: rows in parts of like length, and what the task's loss wants to know."""

    parts: list[PaddedRows]
    order: Array
    """Which row of the step each row of the parts, one behind the other, is."""
    about: Mapping[str, Array]

    @property
    def tokens(self) -> int:
        return int(sum(part.lengths.sum() for part in self.parts))


class Task(Protocol):
    """Which rows, which loss, and how good it is."""

    labels: int

    def steps(self, rng: np.random.Generator) -> Iterator[Step]:
        """One pass over the data."""

    def loss(self, logits: Tensor, about: Mapping[str, Tensor]) -> Tensor:
        """The loss of a step's logits, which are in the order of its rows.  # (B, labels) -> ()"""

    def measure(self, logits_of: LogitsOf) -> dict[str, float]:
        """Figures on rows that are held back."""


class LogitsOf(Protocol):
    """Computes logits of rows without a gradient, in their order.  # (rows, labels) float32"""

    def __call__(self, pool: Pool, pieces: Ragged) -> Array: ...


def in_like_lengths(pool: Pool, pieces: Ragged, lengths: Array, parts: int) -> tuple[list[PaddedRows], Array]:
    """Pad rows in `parts` parts of like length, so that little of them is padding; with the order that results."""
    order = np.argsort(lengths, kind="stable")
    return [pad_rows(pool, pieces.take(part)) for part in np.array_split(order, parts) if len(part)], order


def on_device(rows: PaddedRows, device: torch.device) -> TokenBatch:
    ids, lengths, first_tokens = (
        torch.from_numpy(a).to(device, non_blocking=True) for a in (rows.ids, rows.lengths, rows.first_tokens)
    )
    return TokenBatch(ids.long(), lengths, first_tokens)


def rate_factor(share: float) -> float:
    """The learning rate as a share of its peak, when `share` of the time has passed: a line up, half a cosine down."""
    if share < WARM_UP:
        return share / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (share - WARM_UP) / (1 - WARM_UP))))


@dataclass(slots=True)
class Settings:
    """How a run goes."""

    seconds: float
    lr: float
    dropout: float
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    seed: int = 17
    fresh_head: bool = False


@dataclass(slots=True)
class Log:
    """What a run prints, kept to be written beside the weights."""

    path: Path
    task: str
    lines: list[dict[str, Any]] = field(default_factory=list)

    def __call__(self, **figures: Any) -> None:
        record = {"task": self.task, **figures}
        self.lines.append(record)
        print(json.dumps(record), flush=True)
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines), encoding="utf-8")


def train(task: Task, weights: FlatWeights, settings: Settings, device: torch.device, log: Log, save: Any) -> None:
    """Train until the seconds have passed."""
    dtype = torch.bfloat16
    optimizer = weights.optimizer(settings.lr, settings.weight_decay, fresh_head=settings.fresh_head)
    peaks = [group["lr"] for group in optimizer.param_groups]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    rng = np.random.default_rng(settings.seed)
    torch.manual_seed(settings.seed)
    started = reported = saved = time.monotonic()
    steps = tokens = 0
    running: list[Tensor] = []
    passes = 0
    queue: Iterator[Step] = iter(())
    while (elapsed := time.monotonic() - started) < settings.seconds:
        step = next(queue, None)
        if step is None:
            queue = task.steps(rng)
            passes += 1
            continue
        for group, peak in zip(optimizer.param_groups, peaks, strict=True):
            group["lr"] = peak * rate_factor(elapsed / settings.seconds)
        views = weights.unpacked(dtype)
        logits = torch.cat(
            [head_logits(views, on_device(part, device), dtype=dtype, dropout=settings.dropout) for part in step.parts]
        )
        back = torch.from_numpy(np.argsort(step.order)).to(device)
        about = {name: torch.from_numpy(value).to(device) for name, value in step.about.items()}
        loss = task.loss(logits[back], about)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        running.append(loss.detach())
        steps += 1
        tokens += step.tokens
        if steps % 4 == 0:
            running[-1].item()  # waits: or the host would run ahead of the clock that sets the rate
        if time.monotonic() - reported > REPORT_EVERY_S:
            reported = time.monotonic()
            mean = float(torch.stack(running).mean())
            running = []
            log(
                seconds=round(reported - started, 1), steps=steps, passes=passes, million_tokens=round(tokens / 1e6, 2),
                loss=round(mean, 4), rate=round(rate_factor(elapsed / settings.seconds), 3),
            )  # fmt: skip
        if time.monotonic() - saved > CHECKPOINT_EVERY_S:
            saved = time.monotonic()
            save(weights)
    log(steps=steps, passes=passes, million_tokens=round(tokens / 1e6, 2), trained_s=round(elapsed, 1))
    save(weights)


def logits_with(weights: FlatWeights, device: torch.device, *, token_budget: int) -> LogitsOf:
    """Return what a task measures with."""

    def logits_of(pool: Pool, pieces: Ragged) -> Array:
        views = weights.unpacked(torch.bfloat16)
        lengths = np.add.reduceat(pool.lengths[pieces.values], pieces.starts[:-1])
        order = np.argsort(-lengths, kind="stable")
        found: list[Tensor] = []
        start = 0
        while start < len(order):
            chosen = order[start : start + max(1, token_budget // int(lengths[order[start]]))]
            found.append(
                head_logits(views, on_device(pad_rows(pool, pieces.take(chosen)), device), dtype=torch.bfloat16)
            )
            start += len(chosen)
        logits = np.empty((len(order), found[0].shape[1]), dtype=np.float32)
        logits[order] = torch.cat(found).cpu().numpy()
        return logits

    return torch.no_grad()(logits_of)


def base_weights(folder: Path) -> dict[str, Array]:
    """The base encoder's weights, as `research.training.pack_base` packed them."""
    packed: dict[str, Array] = {}
    for path in sorted(folder.glob("base.*.xz")):
        packed |= read_arrays(path)
    return decode_12_bit(packed)


def initial_weights(base: Mapping[str, Array], init: Path | None, labels: int, seed: int) -> dict[str, Array]:
    """What training begins from: the base with a new head, or with a shipped delta on top.

    A delta has the temperature in its head, which training does not mind.
    """
    if init is not None:
        return apply_delta(base, load_file(init))
    width = base["bert.pooler.dense.weight"].shape[0]
    head = np.random.default_rng(seed).normal(0, 0.02, (labels, width)).astype(np.float32)
    return {**base, "classifier.weight": head, "classifier.bias": np.zeros(labels, dtype=np.float32)}


def as_tensors(weights: Mapping[str, Array]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in weights.items()}


def saver(task_name: str, out: Path) -> Any:
    """Return a function that writes the trained weights; a run that is cut short leaves the last whole set."""
    aside = out.parent / f".{out.name}-{task_name}"
    aside.mkdir(parents=True, exist_ok=True)

    def save(weights: FlatWeights) -> None:
        arrays = {name: value.half().cpu().numpy() for name, value in weights.trained().items()}
        for number, part in enumerate(in_parts(arrays, PART_BYTES), start=1):
            name = f"{task_name}.{number}.safetensors"
            save_file(part, aside / name)
            shutil.move(aside / name, out / name)

    return save


def make_task(name: str, data: Path, weights: Mapping[str, Tensor], args: argparse.Namespace, device: Any) -> Task:
    if name == "classifier":
        from research.classifier.on_card import ClassifierTask

        return ClassifierTask(read_arrays(data / "classifier.xz"), token_budget=args.token_budget)
    from research.reranker.on_card import RerankerTask

    return RerankerTask(read_arrays(data / "reranker.xz"), weights, device, token_budget=args.token_budget)


DEFAULTS: dict[str, dict[str, float]] = {
    "classifier": {"lr": 2e-4, "dropout": 0.1, "token_budget": 16_384},
    "reranker": {"lr": 3e-4, "dropout": 0.0, "token_budget": 32_768},
}


def main() -> None:
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=("classifier", "reranker"), required=True)
    parser.add_argument("--data", type=Path, required=True, help="folder of classifier.xz and reranker.xz")
    parser.add_argument("--base", type=Path, required=True, help="folder of base.1.xz …")
    parser.add_argument("--init", type=Path, help="delta.safetensors to begin from; default: the base encoder")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=80.0, help="of training, after everything is loaded")
    parser.add_argument("--token-budget", type=int, help="padded tokens per step")
    parser.add_argument("--lr", type=float)
    parser.add_argument("--dropout", type=float)
    parser.add_argument("--seed", type=int, default=17)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    for name, value in DEFAULTS[args.task].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    device = torch.device(args.device)
    if device.type == "cpu":
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    else:
        torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for each shape, and every batch has another
        torch.set_float32_matmul_precision("high")
    args.out.mkdir(parents=True, exist_ok=True)
    log = Log(args.out / f"{args.task}.jsonl", args.task)
    labels = {"classifier": 2, "reranker": 1}[args.task]
    base = base_weights(args.base)
    task = make_task(args.task, args.data, as_tensors(base), args, device)
    weights = FlatWeights(as_tensors(initial_weights(base, args.init, labels, args.seed)), device)
    measure = logits_with(weights, device, token_budget=args.token_budget)
    log(device=str(device), before=task.measure(measure), loaded_s=round(time.monotonic() - began, 1))
    settings = Settings(
        seconds=args.seconds, lr=args.lr, dropout=args.dropout, seed=args.seed, fresh_head=args.init is None
    )
    train(task, weights, settings, device, log, saver(args.task, args.out))
    log(after=task.measure(measure), whole_s=round(time.monotonic() - began, 1))


if __name__ == "__main__":
    main()
