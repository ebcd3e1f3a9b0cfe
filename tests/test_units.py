import pytest

from trivet.units import format_bytes, format_seconds


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (250 * 2**20, "250 MiB"),
        (2**30, "1 GiB"),
        (int(7.8 * 2**30), "7.8 GiB"),
        (200 * 2**30, "200 GiB"),
        (10 * 2**40, "10 TiB"),
        (-(2**20), "-1 MiB"),
    ],
)
def test_bytes(size_bytes: int, text: str) -> None:
    assert format_bytes(size_bytes) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.5, "0.5 s"), (30.0, "30 s"), (2.25, "2.2 s")])
def test_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
