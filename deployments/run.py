"""Starts a Ray cluster and runs a Serve config file on it: `python -m deployments.run CONFIG [--lean]`.

`trivet serve` starts this program instead of `serve run`, which has no settings for the cluster. It writes the
dashboard's address into the folder of the run, where `trivet dashboard` finds it.

`--lean` omits the dashboard, which with its nine helper processes is the largest part of Ray that serving does not need
(docs/memory.md). Without it `serve deploy`, `serve status` and the job API do not work; Serve, its metrics and its logs
do.
"""

import os
import sys
from collections.abc import Mapping

import ray
from ray.serve.scripts import cli

from deployments.service.folder import DASHBOARD_FILE, run_folder
from deployments.service.ports import DASHBOARD


def dashboard_port(environ: Mapping[str, str]) -> dict[str, int]:
    """Return Ray's argument for the dashboard's port. Empty without the variable: Ray then chooses one."""
    return {"dashboard_port": int(environ[DASHBOARD.variable])} if DASHBOARD.variable in environ else {}


def main() -> None:
    """Start Ray, then run `serve run` with the configuration: it uses the cluster that is there."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--lean"]
    dashboard = {"include_dashboard": False} if "--lean" in sys.argv[1:] else dashboard_port(os.environ)
    context = ray.init(namespace="serve", **dashboard)
    if address := context.dashboard_url:
        (run_folder() / DASHBOARD_FILE).write_text(f"http://{address}\n", encoding="utf-8")
    cli(["run", *arguments])


if __name__ == "__main__":
    main()
