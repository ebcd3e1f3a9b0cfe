import asyncio

from bench.load.closed_loop import run_blocks, run_closed_loop
from bench.load.workloads import Call

CALLS = [Call("", ("a", "b"), (3, 4)), Call("", ("c", "d"), (5, 6))]


async def test_calls_in_flight_never_exceed_the_clients_and_all_are_counted() -> None:
    in_flight: list[int] = []
    open_calls = 0
    sent = 0

    async def send(call: Call) -> None:
        nonlocal open_calls, sent
        open_calls += 1
        sent += 1
        in_flight.append(open_calls)
        await asyncio.sleep(0)
        open_calls -= 1

    measured = await run_closed_loop(send, CALLS, clients=3, duration_s=0.0)
    assert sent == 3
    assert max(in_flight) == 3
    assert measured.lengths == [3, 4, 5, 6, 3, 4]
    assert len(measured.latencies_s) == 3
    assert measured.took_s > 0


def test_a_library_gets_whole_blocks_at_least_one() -> None:
    blocks: list[list[Call]] = []
    measured = run_blocks(blocks.append, CALLS, block=3, duration_s=0.0)
    assert blocks == [[CALLS[0], CALLS[1], CALLS[0]]]
    assert measured.lengths == [3, 4, 5, 6, 3, 4]
    assert measured.percentile_ms(50) is None
