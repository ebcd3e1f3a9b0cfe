"""Runs the curl commands of README and docs/index.md against a running service and writes their output below each.

`make readme` runs it. The service must listen on port 8000. tests/deployments/test_readme.py checks the result.
"""

import json
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = (ROOT / "README.md", ROOT / "docs" / "index.md")
EXAMPLE = re.compile(r"(```bash\n(curl .*?)```\n```json\n).*?(\n```)", re.DOTALL)


def pretty(text: str) -> str:
    """Indent JSON, with short lists and objects on one line."""
    return _indent(json.loads(text), 0)


def _indent(value: object, depth: int) -> str:
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict | list) or len(flat) + 2 * depth <= 100:
        return flat
    pad, end = "  " * (depth + 1), "  " * depth
    if isinstance(value, dict):
        lines = [f"{pad}{json.dumps(key)}: {_indent(item, depth + 1)}" for key, item in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{end}}}"
    return "[\n" + ",\n".join(pad + _indent(item, depth + 1) for item in value) + f"\n{end}]"


def rounded(text: str) -> str:
    """Shorten fractions to four digits."""
    return re.sub(r"(0\.\d{4})\d+(e-\d+)?", lambda found: "0.0000" if found[2] else found[1], text)


def main() -> None:
    def fill(found: re.Match[str]) -> str:
        done = subprocess.run(["bash", "-c", found[2]], capture_output=True, text=True, check=True, timeout=120)
        return found[1] + rounded(pretty(done.stdout)) + found[3]

    for page in PAGES:
        page.write_text(EXAMPLE.sub(fill, page.read_text()))


if __name__ == "__main__":
    main()
