"""Serves the application with the starter models on a free loopback port and prints its address.

    python -m tests.integrations.server

It stops when its standard input closes, so that it cannot outlive the tests that started it.
"""

import sys

from bench.support.service import service


def main() -> None:
    with service({"device": "cpu"}) as base_url:
        print(base_url, flush=True)  # noqa: T201 - the parent reads it
        sys.stdin.read()


if __name__ == "__main__":
    main()
