import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.engine.cuda.token_budget import BudgetConfig, after_oom, after_success, full_budget
from trivet.errors import ConfigError

CONFIG = BudgetConfig(max_tokens=16_000, min_tokens=500, grow_after_batches=3, max_grow_after_batches=12)


def test_a_budget_halves_at_once_and_never_below_its_floor() -> None:
    budget = full_budget(CONFIG)
    sizes = []
    for _ in range(7):
        budget = after_oom(CONFIG, budget, budget.tokens)
        sizes.append(budget.tokens)
    assert sizes == [8000, 4000, 2000, 1000, 500, 500, 500]


def test_a_text_longer_than_the_budget_says_nothing_about_batches() -> None:
    """It is a batch by itself, and goes to the CPU where it does not fit."""
    budget = after_oom(CONFIG, full_budget(CONFIG), 2000)
    assert budget.tokens == 1000
    assert after_oom(CONFIG, budget, 8192) == budget


def test_a_batch_smaller_than_the_budget_says_more_than_the_budget() -> None:
    assert after_oom(CONFIG, full_budget(CONFIG), 3000).tokens == 1500


def test_growth_takes_several_full_batches_and_more_after_each_fall() -> None:
    budget = after_oom(CONFIG, full_budget(CONFIG), 16_000)
    batches = 0
    while budget.tokens == 8000:
        budget = after_success(CONFIG, budget, 8000)
        batches += 1
    assert (batches, budget.tokens) == (6, 10_000), "3 successes, doubled by one fall; an eighth of the maximum"
    again = after_oom(CONFIG, budget, 10_000)
    assert again.patience == 12
    assert after_oom(CONFIG, again, 5000).patience == 12, "patience has a limit"


def test_small_batches_prove_nothing() -> None:
    budget = after_oom(CONFIG, full_budget(CONFIG), 16_000)
    assert after_success(CONFIG, budget, 3999) == budget
    assert after_success(CONFIG, budget, 4000) != budget


def test_a_budget_that_got_all_the_way_back_is_as_good_as_new() -> None:
    budget = after_oom(CONFIG, full_budget(CONFIG), 16_000)
    for _ in range(100):
        budget = after_success(CONFIG, budget, budget.tokens)
    assert budget == full_budget(CONFIG)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 20_000)), max_size=60))
def test_a_budget_stays_within_its_bounds(events: list[tuple[bool, int]]) -> None:
    budget = full_budget(CONFIG)
    for is_oom, tokens in events:
        before = budget
        budget = (after_oom if is_oom else after_success)(CONFIG, budget, tokens)
        assert CONFIG.min_tokens <= budget.tokens <= CONFIG.max_tokens
        assert budget.tokens <= before.tokens if is_oom else budget.tokens >= before.tokens


@pytest.mark.parametrize(
    "wrong", [{"max_tokens": 100, "min_tokens": 101}, {"max_tokens": 100, "min_tokens": 1, "grow_after_batches": 0}]
)
def test_crossed_bounds_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        BudgetConfig(**wrong)
