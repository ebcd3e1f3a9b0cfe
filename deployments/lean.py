"""Runs `serve run` on a cluster without a dashboard, for `trivet serve --lean`: `python -m deployments.lean CONFIG`.

The dashboard with its nine helper processes is the largest part of Ray that serving does not need (docs/memory.md).
Without it `serve deploy`, `serve status` and the job API do not work, but Serve, its metrics and its logs do.
"""

import sys

import ray
from ray.serve.scripts import cli


def main() -> None:
    """Start Ray without a dashboard, then run `serve run` with this process's arguments."""
    ray.init(namespace="serve", include_dashboard=False)
    cli(["run", *sys.argv[1:]])  # uses the cluster that is already initialised


if __name__ == "__main__":
    main()
