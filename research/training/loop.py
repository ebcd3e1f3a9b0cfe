"""The training loop the starter models share: bf16 autocast, a rate that rises, stays and falls, exact resume.

It knows nothing of tasks. A task brings groups, a loss `(logits, batch) -> scalar` and an evaluation
`(model) -> metrics`, and gets back the model of the best evaluation.
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm
from transformers import BertForSequenceClassification

from research.training.batches import Batch, Group, collate, pack_epoch
from research.training.first_token import first_token_logits

Loss = Callable[[torch.Tensor, Batch], torch.Tensor]
Evaluate = Callable[[BertForSequenceClassification], dict[str, float]]


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """Everything that decides what the loop computes. A checkpoint of other settings is refused."""

    epochs: float = 1.0
    """Passes over the data; a fraction stops within a pass, with the rate already down to zero there."""
    token_budget: int = 2048
    """Padded tokens per step."""
    peak_lr: float = 2e-4
    warmup: float = 0.06
    """Share of the steps in which the rate rises."""
    decay: float = 0.94
    """Share of the steps, the last ones, in which it falls to zero; between the two it stays at its peak."""
    weight_decay: float = 0.01
    head_lr_factor: float = 5.0
    """The head starts at random and may learn faster than the encoder."""
    max_grad_norm: float = 1.0
    seed: int = 17
    evaluations: int = 4
    """How often to evaluate, evenly spaced, the last at the end."""


@dataclass(frozen=True, slots=True)
class LoopResult:
    """What the loop leaves behind."""

    best_state: dict[str, torch.Tensor]
    best_metrics: dict[str, float]
    steps: int
    trained_s: float


def fit(
    model: BertForSequenceClassification,
    groups: Sequence[Group],
    *,
    loss: Loss,
    evaluate: Evaluate,
    metric: str,
    settings: LoopSettings,
    run_dir: Path,
    on_best: Callable[[BertForSequenceClassification, dict[str, float]], None] | None = None,
    checkpoint_every_s: float = 180.0,
) -> LoopResult:
    """Train `model` on `groups`, keeping the weights with the highest `metric`.

    `run_dir` receives `checkpoint.pt` (resumed from when present) and `log.jsonl`. `on_best` is called after each
    evaluation that beats the ones before, for example to export.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    plan = _plan(groups, settings)
    optimizer = _optimizer(model, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, len(plan), settings))
    state = _State(run_dir / "checkpoint.pt", settings, len(plan))
    state.resume(model, optimizer, schedule)
    evaluate_at = {round(len(plan) * (i + 1) / settings.evaluations) for i in range(settings.evaluations)}
    parameters = [p for p in model.parameters() if p.requires_grad]

    smoothed_loss = float("nan")
    started = last_saved = time.monotonic()
    trained_before_s = state.trained_s
    model.train()
    bar = tqdm(total=len(plan), initial=state.step, unit="step", mininterval=5, dynamic_ncols=True)
    while state.step < len(plan):
        batch = collate([groups[i] for i in plan[state.step]])
        with torch.autocast("cpu", torch.bfloat16):
            logits = forward(model, batch)  # (B, num_labels)
        value = loss(logits.float(), batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        state.step += 1
        state.trained_s = trained_before_s + time.monotonic() - started
        current = value.item()
        smoothed_loss = current if math.isnan(smoothed_loss) else 0.98 * smoothed_loss + 0.02 * current
        bar.update(1)
        bar.set_postfix(loss=f"{smoothed_loss:.4f}", refresh=False)

        if state.step in evaluate_at:
            metrics = evaluate(model)
            model.train()
            record = {"step": state.step, "loss": smoothed_loss, "trained_s": state.trained_s, **metrics}
            _append(run_dir / "log.jsonl", record)
            tqdm.write(json.dumps(record))
            if not state.best_metrics or metrics[metric] > state.best_metrics[metric]:
                state.keep_best(model, metrics)
                if on_best:
                    on_best(model, metrics)
        if state.step in evaluate_at or time.monotonic() - last_saved > checkpoint_every_s:
            state.save(model, optimizer, schedule)
            last_saved = time.monotonic()
    bar.close()
    model.load_state_dict(state.best_state, strict=False)
    return LoopResult(state.best_state, state.best_metrics, state.step, state.trained_s)


def forward(model: BertForSequenceClassification, batch: Batch) -> torch.Tensor:
    """Logits of a batch, computed in parts of like length.  # (B, num_labels)"""
    parts = batch.halves()
    logits = torch.cat([first_token_logits(model, **batch.rows(part)) for part in parts])
    return logits[torch.cat(parts).argsort()]


def _plan(groups: Sequence[Group], settings: LoopSettings) -> list[list[int]]:
    plan: list[list[int]] = []
    whole, fraction = divmod(settings.epochs, 1)
    for epoch in range(int(whole) + (fraction > 0)):
        batches = pack_epoch(groups, token_budget=settings.token_budget, seed=settings.seed, epoch=epoch)
        plan += batches if epoch < whole else batches[: round(len(batches) * fraction)]
    return plan


def _optimizer(model: BertForSequenceClassification, settings: LoopSettings) -> torch.optim.AdamW:
    def select(*, head: bool, matrix: bool) -> list[torch.nn.Parameter]:
        return [
            p
            for name, p in model.named_parameters()
            if p.requires_grad and name.startswith("classifier.") == head and (p.ndim > 1) == matrix
        ]

    head_lr = settings.peak_lr * settings.head_lr_factor
    groups: list[dict[str, Any]] = [
        {"params": select(head=False, matrix=True), "weight_decay": settings.weight_decay},
        {"params": select(head=False, matrix=False), "weight_decay": 0.0},
        {"params": select(head=True, matrix=True), "weight_decay": settings.weight_decay, "lr": head_lr},
        {"params": select(head=True, matrix=False), "weight_decay": 0.0, "lr": head_lr},
    ]
    return torch.optim.AdamW(groups, lr=settings.peak_lr, betas=(0.9, 0.98), eps=1e-6, fused=True)


def rate_factor(step: int, total: int, settings: LoopSettings) -> float:
    """Linear up over the warm-up, level, then a line down to zero at the last step."""
    rising = max(1, round(total * settings.warmup))
    falling = max(1, round(total * settings.decay))
    return max(0.0, min((step + 1) / rising, 1.0, (total - step) / falling))


def _append(path: Path, record: dict[str, Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


class _State:
    """Progress that survives the process: step, weights, optimiser, best so far."""

    def __init__(self, path: Path, settings: LoopSettings, total_steps: int) -> None:
        self._path = path
        self._fingerprint = {**asdict(settings), "total_steps": total_steps}
        self.step = 0
        self.trained_s = 0.0
        self.best_state: dict[str, torch.Tensor] = {}
        self.best_metrics: dict[str, float] = {}

    def resume(
        self,
        model: BertForSequenceClassification,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        if not self._path.exists():
            return
        saved = torch.load(self._path, weights_only=True)
        if saved["fingerprint"] != self._fingerprint:
            raise SystemExit(
                f"{self._path} belongs to a run with other settings or data: {saved['fingerprint']}, "
                f"now {self._fingerprint}. Give another --run-dir, or delete that one to start over."
            )
        model.load_state_dict(saved["model"], strict=False)
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        torch.set_rng_state(saved["rng"])
        self.step, self.trained_s = saved["step"], saved["trained_s"]
        self.best_state, self.best_metrics = saved["best_state"], saved["best_metrics"]
        tqdm.write(f"resumed {self._path} at step {self.step}")

    def keep_best(self, model: BertForSequenceClassification, metrics: dict[str, float]) -> None:
        self.best_state, self.best_metrics = trained_state(model), dict(metrics)

    def save(
        self,
        model: BertForSequenceClassification,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        temporary = self._path.with_suffix(".tmp")
        torch.save(
            {
                "fingerprint": self._fingerprint,
                "model": trained_state(model),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "rng": torch.get_rng_state(),
                "step": self.step,
                "trained_s": self.trained_s,
                "best_state": self.best_state,
                "best_metrics": self.best_metrics,
            },
            temporary,
        )
        os.replace(temporary, self._path)  # a killed process leaves the old checkpoint or the new one, whole


def trained_state(model: BertForSequenceClassification) -> dict[str, torch.Tensor]:
    """A copy of the parameters that training moves (the frozen embedding tables are left out)."""
    return {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
