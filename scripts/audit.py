"""Audits the dependencies: installed versions match constraints.txt, are compatible, and have no known vulnerabilities.

`pip-audit` queries pypi.org for the vulnerabilities of each pinned version. If pypi.org cannot be reached, or a mirror
has no such data, the script reports that they were not checked; with `--strict` this is a failure.
"""

import argparse
import json
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PIN = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
OURS = {"trivet"}
TOOLS = {"pip", "setuptools", "wheel"}
"""Packages of a new environment."""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(text: str) -> dict[str, str]:
    """Parse constraints.txt into versions by name."""
    return {normal(name): version for name, version in PIN.findall(text)}


def installed() -> dict[str, str]:
    """Return versions by name of this environment, without Trivet and `TOOLS`."""
    return {
        normal(found.metadata["Name"]): found.version
        for found in distributions()
        if normal(found.metadata["Name"]) not in OURS | TOOLS
    }


def differences(pins: dict[str, str], present: dict[str, str]) -> list[str]:
    """Describe installed packages that differ from the pins. Builds of a version (`+cpu`) count as the same version."""
    found = []
    for name, version in sorted(present.items()):
        if name not in pins:
            found.append(f"{name} {version} is not pinned")
        elif pins[name].split("+")[0] != version.split("+")[0]:
            found.append(f"{name} is {version}, but pinned to {pins[name]}")
    return found


def vulnerabilities(report: dict[str, object]) -> tuple[list[str], int]:
    """Return the vulnerabilities in a pip-audit report, and the number of packages that it skipped."""
    found, skipped = [], 0
    for package in report.get("dependencies", []):  # type: ignore[attr-defined]
        if "skip_reason" in package:
            skipped += 1
        found += [f"{package['name']} {package['version']}: {known['id']}" for known in package.get("vulns", [])]
    return found, skipped


def ask_pip_audit(program: str, constraints: Path) -> dict[str, object] | None:
    """Run pip-audit and return its report; None if it is not installed or failed."""
    command = [program, "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    try:
        done = subprocess.run([*command, "-r", str(constraints)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    try:
        report: dict[str, object] = json.loads(done.stdout)
    except ValueError:
        return None
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--strict", action="store_true", help="fail if vulnerabilities could not be checked")
    parser.add_argument("--pip-audit", default="pip-audit", help="the program, which needs a separate environment")
    options = parser.parse_args()
    constraints = ROOT / "constraints.txt"
    pins = pinned(constraints.read_text(encoding="utf-8"))
    wrong = differences(pins, installed())
    fits = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True, check=False)
    if fits.returncode != 0:
        wrong += fits.stdout.strip().splitlines()
    report = ask_pip_audit(options.pip_audit, constraints)
    found, skipped = vulnerabilities(report) if report is not None else ([], len(pins))
    for line in [*wrong, *found]:
        print(line)
    if skipped:
        print(
            f"NOT CHECKED for known vulnerabilities: {skipped} of {len(pins)} packages (pypi.org could not be reached)"
        )
    if not wrong and not found:
        print(f"{len(pins)} pins: installed as pinned" + ("" if skipped else ", and no known vulnerabilities"))
    raise SystemExit(1 if wrong or found or (skipped and options.strict) else 0)


if __name__ == "__main__":
    main()
