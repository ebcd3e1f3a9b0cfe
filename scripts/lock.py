"""Prints the installed versions as a constraints file: every transitive dependency, pinned.

Run by `make lock`. Left out: Trivet itself, and the CUDA packages that only a GPU build of torch brings, since which
of them are wanted depends on where pip runs.
"""

import re
from importlib.metadata import distributions

LEFT_OUT = re.compile(r"^(trivet|pip|setuptools|wheel|triton|cuda-.*|nvidia-(?!ml-py).*)$")


def pins() -> list[str]:
    """`name==version` lines, sorted; a local version such as `+cpu` is dropped, so that any build of it satisfies."""
    found = {
        re.sub(r"[-_.]+", "-", distribution.name).lower(): distribution.version.split("+")[0]
        for distribution in distributions()
    }
    return [f"{name}=={version}" for name, version in sorted(found.items()) if not LEFT_OUT.match(name)]


if __name__ == "__main__":
    print("# Every transitive dependency, pinned. Written by `make lock`.")
    print("\n".join(pins()))
