"""Decides how large batches may be after the GPU has run out of memory. Pure.

The budget falls at once and rises slowly, like a congestion window: an out-of-memory error tells exactly how much was
too much, a success tells little. Each fall also doubles the number of successes that the next rise requires, up to a
limit. So a GPU that is permanently fuller than planned does not run out every few batches. A budget that has returned
to its maximum requires as few successes as at the start.

This module decides only; `trivet.engine.cuda.backend` catches errors, frees memory and retries.
"""

from dataclasses import dataclass

from trivet.errors import ConfigError

TYPICAL_TOKENS = 128
"""Length of the sequences with which the budget is measured and CUDA graphs are captured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetConfig:
    """Bounds of a token budget, and how fast it grows. Raises `ConfigError` for bounds that contradict each other."""

    max_tokens: int
    min_tokens: int = 256
    grow_after_batches: int = 32
    """Successful batches of at least half the budget before it grows."""
    max_grow_after_batches: int = 1024

    def __post_init__(self) -> None:
        if not 0 < self.min_tokens <= self.max_tokens:
            raise ConfigError(f"token budget: 0 < {self.min_tokens} ≤ {self.max_tokens} does not hold")
        if not 0 < self.grow_after_batches <= self.max_grow_after_batches:
            raise ConfigError("token budget: 0 < grow_after_batches ≤ max_grow_after_batches does not hold")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The budget now. `successes` count toward the next growth, which comes at `patience`."""

    tokens: int
    successes: int
    patience: int


def full_budget(config: BudgetConfig) -> Budget:
    """Return the budget to start with: the maximum."""
    return Budget(tokens=config.max_tokens, successes=0, patience=config.grow_after_batches)


def after_oom(config: BudgetConfig, budget: Budget, batch_tokens: int) -> Budget:
    """Return the budget after a batch of `batch_tokens` tokens did not fit: half of it, or the minimum.

    A batch above the budget, which is one long sequence, says nothing about batches within it.
    """
    if batch_tokens > budget.tokens:
        return budget
    tokens = max(config.min_tokens, batch_tokens // 2)
    return Budget(tokens=tokens, successes=0, patience=min(budget.patience * 2, config.max_grow_after_batches))


def after_success(config: BudgetConfig, budget: Budget, batch_tokens: int) -> Budget:
    """Return the budget after a batch of `batch_tokens` tokens fitted.

    Batches under half the budget prove nothing and do not count. Growth is an eighth of the maximum.
    """
    if budget.tokens >= config.max_tokens or batch_tokens * 2 < budget.tokens:
        return budget
    if budget.successes + 1 < budget.patience:
        return Budget(tokens=budget.tokens, successes=budget.successes + 1, patience=budget.patience)
    tokens = min(config.max_tokens, budget.tokens + max(1, config.max_tokens // 8))
    patience = config.grow_after_batches if tokens == config.max_tokens else budget.patience
    return Budget(tokens=tokens, successes=0, patience=patience)
