"""Keeps OpenVINO and NNCF from reporting usage.

Importing ``openvino`` sends an event to Google Analytics, and NNCF sends one per compression, unless the user has
run ``opt_in_out --opt_out`` (it writes ``0`` to ``~/intel/openvino_telemetry``) or ``CI=true`` is in the environment.
Both use the package ``openvino_telemetry``, and their own stubs if it cannot be imported. This module makes it
unimportable, in this process only; nothing is written to the user's home.
"""

import sys
from typing import Any


def forbid_telemetry() -> None:
    """Make ``openvino_telemetry`` unimportable. Call it before the first import of ``openvino`` or ``nncf``.

    Raises:
        RuntimeError: ``openvino_telemetry`` has been imported already.
    """
    modules: dict[str, Any] = sys.modules
    if modules.get("openvino_telemetry") is not None:
        raise RuntimeError("forbid_telemetry() must run before openvino is imported")
    modules["openvino_telemetry"] = None  # makes `import openvino_telemetry` raise ImportError
