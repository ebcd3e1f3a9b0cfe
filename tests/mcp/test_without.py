"""`trivet mcp` where the extra is not installed."""

import subprocess
import sys


def test_says_what_to_install() -> None:
    # An interpreter of its own that knows of no `mcp`.
    program = "import sys; sys.modules['mcp'] = None; from trivet.cli import main; main(['mcp'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "install trivet[mcp]" in done.stderr
    assert "Traceback" not in done.stderr
