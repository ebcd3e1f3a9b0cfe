"""Plane figures."""

import json
import math
from pathlib import Path

__all__ = ["Circle", "load"]


class Circle(Shape):
    """All points at one distance from a centre."""

    radius: float
    """Not below zero."""

    @classmethod
    def unit(cls):
        """The circle whose radius is one."""
        return cls(1.0)

    @property
    def area(self):
        return math.pi * self.radius**2

    # The larger the factor, the larger
    # the circle.
    def scaled(self, factor):
        if factor < 0:
            raise ValueError(f"the factor is {factor}; it must not be below zero")
        return type(self)(self.radius * factor)


async def load(path):
    """The circles of a JSON file, which holds a list of radii."""
    return [Circle(radius) for radius in json.loads(Path(path).read_text())]
