"""Separates a graph's head, which reads one vector of each sequence, from the body that reads its tokens.

A graph runs in one precision. In bf16 the last products of a classification head have 8 significant bits: 500 documents
then share some 150 scores. The head alone costs next to nothing in fp32.
"""

from __future__ import annotations

from typing import Any

import openvino
from openvino import opset13 as ops

VECTOR = "vector"
"""Name of the body's output and of the head's input, (S, H) fp32."""


def split_head(graph: Any) -> tuple[Any, Any] | None:
    """Cut a graph of one output where the token dimension has gone.

    The graph's nodes are moved: it must not be used afterwards.

    Returns:
        Body and head; None if nothing is computed on vectors of sequences, or if they come from several places.
    """
    result = graph.outputs[0].get_node()
    head: dict[str, Any] = {result.get_friendly_name(): result}
    cuts: dict[str, Any] = {}
    waiting = [result]
    while waiting:
        for source in waiting.pop().input_values():
            node = source.get_node()
            name = node.get_friendly_name()
            if name in head or name in cuts:
                continue
            if _is_of_vectors(node):
                head[name] = node
                waiting.append(node)
            else:
                cuts[name] = source
    if len(cuts) != 1 or not any(node.get_type_name() == "MatMul" for node in head.values()):
        return None
    [cut] = cuts.values()
    if cut.get_element_type() != openvino.Type.f32 or cut.get_partial_shape().rank != openvino.Dimension(2):
        return None
    vector = ops.parameter(cut.get_partial_shape(), openvino.Type.f32)
    for reader in cut.get_target_inputs():
        if reader.get_node().get_friendly_name() in head:
            reader.replace_source_output(vector.output(0))
    vector.output(0).get_tensor().set_names({VECTOR})
    body_result = ops.result(cut)
    body_result.input(0).get_tensor().set_names({VECTOR})
    body = openvino.Model([body_result], graph.get_parameters(), "body")
    return body, openvino.Model([result], [vector], "head")


def _is_of_vectors(node: Any) -> bool:
    """Whether a node reads nothing but vectors of sequences and constants."""
    return node.get_type_name() == "Constant" or (
        node.get_type_name() != "Parameter" and all(_is_at_most_rank_2(value) for value in node.input_values())
    )


def _is_at_most_rank_2(value: Any) -> bool:
    rank = value.get_partial_shape().rank
    is_float = value.get_element_type() in (openvino.Type.f32, openvino.Type.f16)
    is_constant = value.get_node().get_type_name() == "Constant"
    return rank.is_static and rank.get_length() <= 2 and (is_float or is_constant)
