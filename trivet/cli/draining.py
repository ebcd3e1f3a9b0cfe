"""Lets a service answer what it has accepted before it is stopped.

Ray 2.60's own shutdown kills HAProxy first, and with it every answer that is under way. Told to end by itself, HAProxy
takes no more connections and goes when the last answer has been given.
"""

import signal

import psutil

from trivet.host_memory import role_of, tree

DRAIN_LIMIT_S = 20.0
"""Ray starts a HAProxy that it finds silent again after 30 s."""


def drain(service_pid: int, limit_s: float = DRAIN_LIMIT_S) -> bool:
    """Wait until all open requests of the service have been answered; False where some still are not after `limit_s`.

    Without a HAProxy in front there is nobody to tell: True at once.
    """
    asked = []
    for process in _processes(service_pid):
        try:
            if role_of(process.cmdline()) == "haproxy":
                process.send_signal(signal.SIGUSR1)
                asked.append(process)
        except psutil.NoSuchProcess:
            continue  # ended by itself meanwhile
    _, left = psutil.wait_procs(asked, timeout=limit_s)
    return not left


def _processes(service_pid: int) -> list[psutil.Process]:
    try:
        return tree(psutil.Process(service_pid))
    except psutil.NoSuchProcess:
        return []
