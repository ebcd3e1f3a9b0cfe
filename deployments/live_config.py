"""Settings that can change without replacing a replica: its deployment's `user_config` in the Serve file.

    applications:
      - name: trivet
        …
        deployments:
          - name: embedder-cpu
            user_config: {max_queued_tokens: 500000}

All other settings are arguments of the application; changing one replaces the replicas one by one.
"""

from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt


class LiveConfig(BaseModel):
    """One deployment's `user_config`. Null: the value in the application's arguments."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_queued_tokens: PositiveInt | None = None
    """See `limits.max_queued_tokens`. Work that is already queued stays queued."""
    forward_limit_s: PositiveFloat | None = None
    """See `serving.forward_limit_s`."""
