"""The benchmark of the GPU lane, on a machine with an NVIDIA GPU: `python -m bench.engine.gpu`."""
