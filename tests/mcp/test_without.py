"""`trivet mcp` without the extra `mcp`."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_says_what_to_install() -> None:
    # A separate interpreter in which `mcp` cannot be imported.
    program = "import sys; sys.modules['mcp'] = None; from trivet.cli import main; main(['mcp'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "pip install 'trivet[mcp]'" in done.stderr
    assert "Traceback" not in done.stderr
