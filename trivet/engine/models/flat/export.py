"""Flat models in the form that OpenVINO converts: sequences side by side in bins of one width.

The encoders are the ones that serve on CUDA. What differs for a graph on the CPU is handed in or exchanged:

- boundaries come as the number of each token's sequence, and attention is kept apart by a mask over a bin
  (`trivet.engine.models.flat.attention.BinAttention`);
- joint products (q, k and v; the two halves of a gated feed-forward) become separate products, since a graph pays for
  splitting their results;
- rotation takes the textbook form: the one that serves writes into parts of its result, which no graph can.

OpenVINO executes every product with weights in the precision that the graph is compiled for. A classification head
should therefore be a separate graph, compiled for fp32 (:class:`HeadModel`): in bf16, 500 documents share 139 scores.
OpenVINO keeps what follows the last such product, pooling included, in fp32.

The inputs are those of `trivet.engine.openvino.export.packed.PackedModel`, so one runtime serves both.
"""

from __future__ import annotations

from torch import Tensor, nn

from trivet.engine.models.flat.attention import BinAttention
from trivet.engine.models.flat.heads import ClassificationHead
from trivet.engine.models.flat.layers import Angles, GatedFeedForward, Projections
from trivet.engine.models.flat.load import FlatModel
from trivet.engine.models.rotary import rotate
from trivet.engine.models.spans import BinSpans


class BinModel(nn.Module):
    """A flat model over S sequences in B bins of width W.

    Its inputs are those of `trivet.engine.openvino.export.packed.PackedModel`. The result is the flat model's,
    (S, outputs) fp32, or, where the head is another graph, that graph's input: (S, H) fp32.

    The model given is changed: its joint products are cut.
    """

    def __init__(self, model: FlatModel, *, takes_token_types: bool, blocks: bool, with_head: bool = True) -> None:
        """Wrap a model loaded on the CPU in fp32.

        Args:
            model: see `trivet.engine.models.flat.load.load_flat_model`.
            takes_token_types: whether the graph has an input for them.
            blocks: whether local layers run in blocks, or under a mask over the whole bin.
            with_head: whether a classification head is part of the graph. Pooling always is.
        """
        super().__init__()
        self.model = model
        self._blocks = blocks
        self._with_head = with_head
        self.input_names: tuple[str, ...] = ("input_ids", "positions", "sequence_ids", "first_token_indices")
        if takes_token_types:
            self.input_names += ("token_type_ids",)
        _cut_joint_products(model)

    def forward(
        self,
        input_ids: Tensor,
        positions: Tensor,
        sequence_ids: Tensor,
        first_token_indices: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> Tensor:
        """See the class."""
        spans = BinSpans(sequence_ids, positions, first_token_indices)
        hidden = self.model.encoder(
            input_ids.flatten(),
            None if token_type_ids is None else token_type_ids.flatten(),
            positions.flatten(),
            BinAttention(sequence_ids, blocks=self._blocks),
        )  # (B·W, H)
        head = self.model.head
        if isinstance(head, ClassificationHead) and not self._with_head:
            return head.pool(spans, hidden)
        outputs: Tensor = head(hidden, spans)
        return outputs


class HeadModel(nn.Module):
    """``forward(pooled (S, H) fp32) -> (S, labels) fp32``: a classification head, for a separate graph in fp32."""

    input_names = ("pooled",)

    def __init__(self, head: ClassificationHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, pooled: Tensor) -> Tensor:
        """See the class."""
        return self.head.classify(pooled)


class _CutProjections(nn.Module):
    """:class:`Projections` as three products."""

    def __init__(self, joint: Projections) -> None:
        super().__init__()
        self.heads, self.head_size = joint.heads, joint.head_size
        self.query, self.key, self.value = _cut(joint.joint, 3)

    def forward(self, x: Tensor, angles: Angles | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(N, H) → q, k, v, each (N, h, D)."""
        shape = (-1, self.heads, self.head_size)
        query, key, value = (product(x).view(shape) for product in (self.query, self.key, self.value))
        if angles is not None:
            cos, sin = (table[:, None] for table in angles)  # each (N, 1, D)
            query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        return query, key, value


class _CutGatedFeedForward(nn.Module):
    """:class:`GatedFeedForward` as three products."""

    def __init__(self, joint: GatedFeedForward) -> None:
        super().__init__()
        self.inner, self.gate = _cut(joint.joint, 2)
        self.outer, self.activation = joint.outer, joint.activation

    def forward(self, x: Tensor) -> Tensor:
        """(N, H) → (N, H)."""
        out: Tensor = self.outer(self.activation(self.inner(x)) * self.gate(x))
        return out


def _cut_joint_products(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, Projections):
            setattr(module, name, _CutProjections(child))
        elif isinstance(child, GatedFeedForward):
            setattr(module, name, _CutGatedFeedForward(child))
        else:
            _cut_joint_products(child)


def _cut(linear: nn.Linear, count: int) -> list[nn.Linear]:
    """A linear layer as several, each giving an equal share of its outputs in their order. Weights stay shared."""
    biases = [None] * count if linear.bias is None else list(linear.bias.chunk(count))
    cut = []
    for weight, bias in zip(linear.weight.chunk(count), biases, strict=True):
        part = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        part.weight = nn.Parameter(weight, requires_grad=False)
        part.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
        cut.append(part)
    return cut
