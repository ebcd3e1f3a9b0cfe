"""`trivet serve` ends in order whichever signal asks it to, also when its terminal is closed."""

import os
import signal
from collections.abc import Iterator

import pytest

from trivet.cli.serve import _handle_signals, _Stopped

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    for number in _NUMBERS:
        signal.signal(number, signal.SIG_DFL)  # the suite may itself run under nohup, or in the background
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)])
def test_a_signal_is_an_orderly_stop(number: signal.Signals, code: int) -> None:
    _handle_signals()
    with pytest.raises(_Stopped) as stopped:
        os.kill(os.getpid(), number)
    assert stopped.value.exit_code == code


def test_nohup_stays_in_force() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    _handle_signals()
    os.kill(os.getpid(), signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
