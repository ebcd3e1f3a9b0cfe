"""Converts a checkpoint to OpenVINO in a separate process. The only part of `trivet.engine.openvino` with torch."""
