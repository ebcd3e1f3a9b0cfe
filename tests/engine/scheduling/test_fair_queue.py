"""The fair queue: budgets, order within a flow, turns between flows, abandoned items, little padding."""

import random
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.engine.batch.layout import BINNED, FLAT, PADDED, Layout
from trivet.engine.scheduling.fair_queue import (
    MAX_PADDING_RATIO,
    NEGLIGIBLE_PADDING_TOKENS,
    FairQueue,
    bucket_of,
)
from trivet.messages import Priority


@dataclass(eq=False)
class Item:
    serial: int
    tokens: int
    priority: Priority = "interactive"
    abandoned: bool = False


def queue_of(items: list[Item], layout: Layout = PADDED) -> FairQueue[Item]:
    queue: FairQueue[Item] = FairQueue(layout, lambda item: item.abandoned)
    for item in items:
        queue.push(item, item.tokens, item.priority)
    return queue


def drain(queue: FairQueue[Item], budget: int) -> list[list[Item]]:
    batches = []
    while batch := queue.next_batch(budget):
        batches.append(batch)
    return batches


items = st.lists(
    st.builds(
        Item,
        serial=st.integers(),
        tokens=st.integers(1, 9000),
        priority=st.sampled_from(["interactive", "bulk"]),
        abandoned=st.booleans(),
    ),
    max_size=60,
)
budgets = st.integers(1, 20000)
layouts = st.sampled_from([PADDED, BINNED, FLAT])


@given(items, budgets, layouts)
def test_everything_is_served_once_and_abandoned_items_never(
    given_items: list[Item], budget: int, layout: Layout
) -> None:
    queue = queue_of(given_items, layout)
    served = [id(item) for batch in drain(queue, budget) for item in batch]
    assert sorted(served) == sorted(id(item) for item in given_items if not item.abandoned)
    assert len(queue) == 0
    assert queue.waiting_tokens == 0


@given(items, budgets)
def test_a_batch_stays_within_the_budget_unless_it_is_one_sequence(given_items: list[Item], budget: int) -> None:
    for batch in drain(queue_of(given_items), budget):
        padded = max(item.tokens for item in batch) * len(batch)
        assert len(batch) == 1 or padded <= budget


@given(items, budgets)
def test_a_batch_pads_little(given_items: list[Item], budget: int) -> None:
    for batch in drain(queue_of(given_items), budget):
        useful = sum(item.tokens for item in batch)
        padded = max(item.tokens for item in batch) * len(batch)
        assert padded - useful <= NEGLIGIBLE_PADDING_TOKENS or padded <= MAX_PADDING_RATIO * useful


@given(items, budgets, layouts)
def test_first_in_first_out_within_a_flow(given_items: list[Item], budget: int, layout: Layout) -> None:
    order = {id(item): at for at, item in enumerate(given_items)}
    last_seen: dict[tuple[Priority, int], int] = {}
    for batch in drain(queue_of(given_items, layout), budget):
        for item in batch:
            flow = (item.priority, bucket_of(item.tokens))
            assert order[id(item)] > last_seen.get(flow, -1)
            last_seen[flow] = order[id(item)]


@given(items, budgets)
def test_a_mixed_batch_holds_what_fits_and_leaves_nothing_that_does(given_items: list[Item], budget: int) -> None:
    queue = queue_of(given_items, BINNED)
    waiting = [item for item in given_items if not item.abandoned]
    while batch := queue.next_batch(budget):
        useful = sum(item.tokens for item in batch)
        assert len(batch) == 1 or useful <= budget
        waiting = [item for item in waiting if all(item is not taken for taken in batch)]
        heads: dict[tuple[Priority, int], Item] = {}
        for item in waiting:
            heads.setdefault((item.priority, bucket_of(item.tokens)), item)
        assert all(useful + head.tokens > budget for head in heads.values())


def test_a_mixed_batch_is_filled_in_the_order_of_the_turns() -> None:
    queue = queue_of([Item(0, 400), Item(1, 30), Item(2, 30), Item(3, 90), Item(4, 700)], BINNED)
    # All flows are level: the shortest first, each as a whole. An item too long for the rest of the budget waits.
    assert [item.serial for item in queue.next_batch(600)] == [1, 2, 3, 0]
    assert [item.serial for item in queue.next_batch(600)] == [4]


def test_a_short_sequence_passes_a_queue_of_long_ones() -> None:
    queue = queue_of([Item(n, 8192) for n in range(50)])
    for _ in range(10):
        queue.next_batch(8192)
    short = Item(99, 30)
    queue.push(short, 30, "interactive")
    assert queue.next_batch(8192) == [short]


def test_long_sequences_are_not_starved_by_a_stream_of_short_ones() -> None:
    queue = queue_of([Item(0, 8192)])
    served_long_after = 0
    while True:
        queue.push(Item(1, 32), 32, "interactive")
        batch = queue.next_batch(512)
        if batch[0].tokens == 8192:
            break
        served_long_after += 1
        assert served_long_after < 2000
    # The long sequence's flow was behind from the start: it waits for no more short tokens than it has itself.
    assert served_long_after * 32 <= 8192 + 512


def test_a_flow_does_not_profit_from_having_been_silent() -> None:
    queue = queue_of([Item(n, 1000) for n in range(60)])
    for _ in range(30):
        queue.next_batch(1000)
    for n in range(1000):
        queue.push(Item(n, 100), 100, "interactive")
    served = [queue.next_batch(1000)[0].tokens for _ in range(20)]
    # From here on both flows get about the same number of tokens, whatever the long one was served before.
    assert 8 <= served.count(1000) <= 12


def test_interactive_work_gets_its_share_over_bulk() -> None:
    bulk = [Item(n, 100, "bulk") for n in range(400)]
    interactive = [Item(n, 100) for n in range(400)]
    queue = queue_of([*bulk, *interactive])
    served = [item.priority for _ in range(90) for item in queue.next_batch(100)]
    assert 8 <= served.count("interactive") / served.count("bulk") <= 9.1


def test_max_tokens_leaves_long_sequences_alone() -> None:
    queue = queue_of([Item(0, 8192), Item(1, 30)])
    assert [item.serial for item in queue.next_batch(512, max_tokens=256)] == [1]
    assert queue.next_batch(512, max_tokens=256) == []
    assert [item.serial for item in queue.next_batch(512)] == [0]


@settings(max_examples=20)
@given(st.integers(0, 10_000))
def test_padding_on_the_mixed_workload_is_at_most_a_tenth(seed: int) -> None:
    rng = random.Random(seed)
    lengths = [min(2000, max(5, round(rng.lognormvariate(4.79, 0.8)))) for _ in range(400)]  # median 120
    batches = drain(queue_of([Item(n, length) for n, length in enumerate(lengths)]), 1024)
    padded = sum(max(item.tokens for item in batch) * len(batch) for batch in batches)
    assert padded / sum(lengths) <= 1.10


def test_numbers_of_tokens_and_of_sequences_never_share_a_batch() -> None:
    for layout in (PADDED, BINNED, FLAT):
        queue: FairQueue[Item] = FairQueue(layout, lambda item: item.abandoned)
        for serial in range(12):
            item = Item(serial, 20 + serial)
            queue.push(item, item.tokens, "interactive", per_token=serial % 3 == 0)
        batches = drain(queue, 1000)
        assert sorted(item.serial for batch in batches for item in batch) == list(range(12))
        assert all(len({item.serial % 3 == 0 for item in batch}) == 1 for batch in batches)
