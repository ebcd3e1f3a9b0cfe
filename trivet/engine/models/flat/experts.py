"""A mixture of experts in place of a feed-forward block, as nomic-embed v2 has it in its odd layers.

Each token takes the best two of eight experts, by a softmax over all of them that is not renormalised; one bias is
shared by all and added once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from trivet.checkpoint.nomic import NomicMoeConfig
from trivet.engine.models.flat.layers import Fp32Linear

ALL_EXPERTS_UP_TO_TOKENS = 512
"""Where tokens cannot be sent to their experts without asking the device for their numbers, batches up to here go
through every expert: reading the weights is what costs then, and they are all read anyway."""

MixExperts = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""``mix(tokens (N, H), weights (N, k) fp32, chosen (N, k), w1 (E, F, H), w2 (E, F, H)) -> (N, H)``."""


class Experts(nn.Module):
    """``gelu(x @ w1[e].T) @ w2[e]`` for each token's experts, weighed by the router, plus one bias for all.

    How tokens meet their experts depends on where the weights are: it is chosen each time they are moved.
    """

    def __init__(self, config: NomicMoeConfig) -> None:
        super().__init__()
        self.shape = (config.experts, config.inner_size, config.hidden_size)
        self.experts_per_token = config.experts_per_token
        # In fp32 whatever the weights' dtype: rounding here would send tokens to other experts.
        self.router = Fp32Linear(config.hidden_size, config.experts, bias=False)
        rows = config.experts * config.inner_size
        self.w1 = nn.Parameter(torch.empty(rows, config.hidden_size))  # (E·F, H), expert axis outer
        self.w2 = nn.Parameter(torch.empty(rows, config.hidden_size))  # (E·F, H)
        self.bias = nn.Parameter(torch.empty(config.hidden_size))  # (H,)
        self.mix: MixExperts = mix_one_by_one

    def forward(self, x: Tensor) -> Tensor:
        """(N, H) → (N, H)."""
        # Over all experts; the top k are not renormalised.
        weights, chosen = self.router(x).softmax(dim=-1).topk(self.experts_per_token, dim=-1)  # (N, k), (N, k)
        return self.mix(x, weights, chosen, self.w1.view(self.shape), self.w2.view(self.shape)) + self.bias

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Move or convert the weights: torch calls this for each of its methods that does."""
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.mix = mix_for(self.w1.device, self.w1.dtype)
        return moved


def mix_for(device: torch.device, dtype: torch.dtype) -> MixExperts:
    """Return the way that suits the weights' device and dtype."""
    if device.type != "cuda":
        return mix_one_by_one
    return mix_grouped if groups_without_waiting(torch.cuda.get_device_capability(device), dtype) else mix_by_size


def groups_without_waiting(capability: tuple[int, int], dtype: torch.dtype) -> bool:
    """Whether torch's grouped product runs as one kernel; elsewhere it copies the groups' sizes to the host first."""
    return capability[0] in (9, 10) and dtype == torch.bfloat16


def mix_one_by_one(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """A loop over the experts, each gathering its tokens. For the CPU; exports to OpenVINO, which runs it sparse."""
    out = torch.zeros_like(tokens)  # (N, H)
    for expert in range(w1.shape[0]):
        rows, slots = torch.where(chosen == expert)  # (n,), (n,)
        answer = functional.gelu(tokens[rows] @ w1[expert].T) @ w2[expert]  # (n, H)
        share = weights[rows, slots, None].to(tokens.dtype)  # (n, 1)
        out = out.index_add(0, rows, answer * share)
    return out


def mix_grouped(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Two grouped matrix products over tokens sorted by expert; sizes stay on the device."""
    per_token = chosen.shape[1]
    # In 16 bits: a GPU sorts numbers in passes over their bits.
    experts, order = chosen.flatten().to(torch.int16).sort(stable=True)  # (N·k,), (N·k,)
    numbers = torch.arange(w1.shape[0], dtype=torch.int16, device=tokens.device)
    ends = torch.searchsorted(experts, numbers, right=True, out_int32=True)  # (E,)
    rows = order // per_token  # (N·k,)
    inner = functional.gelu(functional.grouped_mm(tokens[rows], w1.transpose(1, 2), offs=ends))  # (N·k, F)
    answers = functional.grouped_mm(inner, w2, offs=ends)  # (N·k, H)
    unsorted = torch.empty_like(answers).index_copy_(0, order, answers)  # (N·k, H)
    return (unsorted.view(-1, per_token, tokens.shape[1]) * weights.to(tokens.dtype)[..., None]).sum(1)  # (N, H)


def mix_all(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """Every token through every expert; those it did not choose count nothing."""
    shares = torch.zeros(tokens.shape[0], w1.shape[0], device=tokens.device).scatter_(1, chosen, weights)  # (N, E)
    inner = functional.gelu(torch.matmul(tokens, w1.transpose(1, 2)))  # (E, N, F)
    answers = torch.matmul(inner, w2)  # (E, N, H)
    return (answers * shares.T.to(tokens.dtype)[..., None]).sum(0)  # (N, H)


def mix_by_size(tokens: Tensor, weights: Tensor, chosen: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    """For GPUs whose grouped product waits for the device: small batches, which are captured as graphs, avoid it."""
    mix = mix_all if tokens.shape[0] <= ALL_EXPERTS_UP_TO_TOKENS else mix_grouped
    return mix(tokens, weights, chosen, w1, w2)
