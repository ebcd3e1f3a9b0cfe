"""`serve run` on a cluster without a dashboard: `python -m deployments.lean CONFIG`, which `trivet serve --lean` calls.

The dashboard and its nine helpers are the largest part of Ray that serving does not need (docs/memory.md). Without it
`serve deploy`, `serve status` and the job API do not work; Serve, its metrics and its logs do.
"""

import sys

import ray
from ray.serve.scripts import cli


def main() -> None:
    """Take the arguments of `serve run`."""
    ray.init(namespace="serve", include_dashboard=False)
    cli(["run", *sys.argv[1:]])  # it finds Ray initialised, and leaves it as it is


if __name__ == "__main__":
    main()
