"""How many tokens a GPU computes in time: with a host that launches slowly, and with disturbed measurements."""

from collections.abc import Callable

import pytest

from trivet.engine.backend import BackendOutOfMemory
from trivet.engine.cuda.calibration import tokens_within

LEAST, MOST = 512, 16_384


def device(tokens_per_s: float, launch_s: float = 0.0, fits: int = 1 << 30) -> Callable[[int], float]:
    """A GPU that computes so fast, behind a host that needs so long to launch a forward."""

    def seconds(tokens: int) -> float:
        if tokens > fits:
            raise BackendOutOfMemory("full")
        return max(launch_s, tokens / tokens_per_s)

    return seconds


def within(seconds: Callable[[int], float]) -> int:
    return tokens_within(0.020, seconds, least=LEAST, most=MOST)


@pytest.mark.parametrize("launch_s", [0.0, 0.004, 0.019])
def test_the_time_is_linear_between_two_sizes(launch_s: float) -> None:
    assert within(device(400_000, launch_s)) == pytest.approx(8_000, rel=0.05)
    assert within(device(2_000_000, launch_s)) == MOST


@pytest.mark.parametrize("launch_s", [0.021, 0.025, 0.040])
def test_a_host_that_launches_slowly_does_not_make_batches_small(launch_s: float) -> None:
    """A graph launches all kernels at once."""
    found = within(device(200_000, launch_s))
    assert found == pytest.approx(4_000, rel=0.05)


@pytest.mark.parametrize("disturbed", [512, 1_024, 2_048, 4_096])
def test_one_disturbed_measurement_does_not_end_the_search(disturbed: int) -> None:
    steady = device(400_000)

    def seconds(tokens: int) -> float:
        return 0.025 if tokens == disturbed else steady(tokens)

    assert within(seconds) == pytest.approx(8_000, rel=0.05)


def test_a_slow_gpu_gets_what_fits_the_time_and_no_less_than_the_least() -> None:
    assert within(device(50_000)) == pytest.approx(1_000, rel=0.05)
    assert within(device(5_000)) == LEAST


def test_memory_ends_the_search() -> None:
    assert within(device(2_000_000, fits=3_000)) == 2_048
    assert within(device(2_000_000, fits=100)) == LEAST
    assert within(device(50_000, fits=1_500)) == pytest.approx(1_000, rel=0.05)


def test_the_largest_size_is_the_limit() -> None:
    asked = []

    def seconds(tokens: int) -> float:
        asked.append(tokens)
        return 0.001

    assert tokens_within(0.020, seconds, least=512, most=3_000) == 3_000
    assert asked == [512, 1_024, 2_048, 3_000]
    assert tokens_within(0.020, seconds, least=700, most=700) == 700
