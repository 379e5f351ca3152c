"""Multi-head self-attention, forward and backward, ours and the framework's own layer.

Each file has ``ours(heads, weights)`` and ``own(heads, weights)``, which return a function that
computes output and gradients (of the input and of every parameter) once. ``weights`` says whether
the attention weights are wanted too. In JAX and TensorFlow both are compiled as a whole.
"""
