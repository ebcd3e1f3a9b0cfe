"""Prints the installed versions as a constraints file with every transitive dependency, for `make lock`.

Omits Trivet itself, and the CUDA packages that only GPU builds of torch require, since these depend on the platform.
"""

import re
from importlib.metadata import distributions

OMITTED = re.compile(r"^(trivet|pip|setuptools|wheel|triton|cuda-.*|nvidia-(?!ml-py).*)$")


def pins() -> list[str]:
    """Return sorted `name==version` lines, without local versions such as `+cpu`, so that any build satisfies them."""
    found = {
        re.sub(r"[-_.]+", "-", distribution.name).lower(): distribution.version.split("+")[0]
        for distribution in distributions()
    }
    return [f"{name}=={version}" for name, version in sorted(found.items()) if not OMITTED.match(name)]


if __name__ == "__main__":
    print("# Every transitive dependency, pinned. Written by `make lock`.")
    print("\n".join(pins()))
