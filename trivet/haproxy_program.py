"""The program `trivet-haproxy`, which Ray starts as HAProxy; `deployments.haproxy.launcher` does the work.

A separate module: Ray starts HAProxy again whenever replicas change, and the command line would take longer to import.
"""

from trivet.paths import make_service_importable


def main() -> None:
    """Find the launcher, in a checkout as in an installed wheel, and run it."""
    make_service_importable()
    from deployments.haproxy.launcher import main as run

    run()
