"""One description per architecture, for both lanes: encoders that compute on tokens laid end to end.

`architectures` says which checkpoints these are, from config.json alone and without torch; `load` makes a model of
one. `attention` is handed in: for CUDA, for padded batches, or (`export`) for bins on OpenVINO. What is not supported
is refused with a reason, and keeps the path through transformers, `trivet.engine.models.load`.
"""

from trivet.engine.models.flat.architectures import UnsupportedArchitecture, supports, unsupported_reason
from trivet.engine.models.flat.refusal import padded_because

__all__ = ["UnsupportedArchitecture", "padded_because", "supports", "unsupported_reason"]
