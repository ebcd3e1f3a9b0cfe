"""Keeps a classifier's last product in fp32 in a graph that computes in bf16.

OpenVINO runs every matrix product of such a graph in bf16, and so rounds logits to 8 bits of mantissa: 500 documents
shared 54 scores. What follows the last product stays in fp32. So that product, a few rows, is written as a sum of
products, which is no matrix product to OpenVINO.
"""

from torch import Tensor, nn


class SumOfProducts(nn.Module):
    """A linear layer of few outputs: ``forward(x (…, H)) -> (…, outputs)``."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias  # (outputs, H), (outputs,)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        logits = (x.unsqueeze(-2) * self.weight).sum(-1)
        return logits if self.bias is None else logits + self.bias
