"""The floor: the matrix products of a training step and nothing else, in each framework."""

import importlib

import numpy as np


def products(framework, setting):
    """Return a function that does all the products once."""
    matmul, array, wait = importlib.import_module(__name__).__dict__[f"_{framework}"]()
    rng = np.random.default_rng(0)

    def operand(*shape):
        return array(rng.standard_normal(shape if shape[0] > 1 else shape[1:], "float32"))

    jobs = [(c, operand(b, m, k), operand(b, k, n)) for c, b, m, k, n in setting.products()]

    def run():
        for count, a, b in jobs:
            for _ in range(count):
                last = matmul(a, b)
        wait(last)

    return run


def _torch():
    import torch

    return torch.matmul, torch.from_numpy, lambda x: None


def _mxnet():
    importlib.import_module("d2l_ext.mxnet")  # first: it sets what MXNet needs of NumPy
    from mxnet import np as mnp
    from mxnet import npx

    def matmul(a, b):
        return mnp.dot(a, b) if a.ndim == 2 else npx.batch_dot(a, b)

    return matmul, mnp.array, lambda x: npx.waitall()


def _jax():
    import jax

    return jax.jit(jax.numpy.matmul), jax.numpy.array, lambda x: x.block_until_ready()


def _tensorflow():
    import tensorflow as tf

    return tf.matmul, tf.constant, lambda x: x.numpy()
