"""What the HTTP side needs of the configuration, and no more."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from trivet.config import DEFAULT_RELATIONS, AppConfig


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """Limits at the door and the relation set."""

    max_body_bytes: int = 8 * 1024**2
    max_inputs: int = 2048
    request_timeout_s: float = 300.0
    relations: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_RELATIONS))
    absent_relation: str | None = "unrelated"

    @classmethod
    def from_config(cls, config: AppConfig) -> "ApiSettings":
        """Pick the HTTP side's part of the configuration."""
        return cls(
            max_body_bytes=int(config.limits.max_body),
            max_inputs=config.limits.max_inputs,
            request_timeout_s=config.limits.request_timeout_s,
            relations=dict(config.relations),
            absent_relation=config.absent_relation,
        )
