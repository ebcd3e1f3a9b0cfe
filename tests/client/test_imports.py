"""Importing the client imports no server code and no heavy library."""

import subprocess
import sys

import pytest

HEAVY = ["ray", "torch", "openvino", "transformers", "numpy", "fastapi", "uvicorn", "trivet.engine", "trivet.api"]


@pytest.mark.slow
def test_importing_the_client_imports_nothing_heavy() -> None:
    code = f"import sys, trivet.client; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
