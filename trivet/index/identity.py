"""The model whose vectors an index holds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IndexModel:
    """Vectors are comparable only within one of these."""

    name: str
    revision: str
    dimensions: int

    def __str__(self) -> str:
        return f"{self.name} at revision {self.revision} with {self.dimensions} dimensions"
