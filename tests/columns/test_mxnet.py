"""What is particular to the MXNet column: its start, its arrays, and where it mends an operator."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import d2l_ext

if "mxnet" not in d2l_ext.installed():
    pytest.skip("mxnet is not installed", allow_module_level=True)

BE = d2l_ext.backend("mxnet")


def run(code, **environment):
    """Run code in a new process with nothing set but what it needs; return what it printed."""
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    assert run.stderr == ""
    return run.stdout.strip()


def test_importing_warns_of_nothing_and_gives_numpy_its_name_back():
    code = "import numpy; from d2l_ext import mxnet; print(numpy.bool is numpy.bool_)"
    assert run(code) == "True"


@pytest.mark.parametrize(
    ("name", "value"), [("MXNET_OMP_MAX_THREADS", "3"), ("MXNET_ENGINE_TYPE", "ThreadedEngine")]
)
def test_the_environment_has_the_last_word_on_threads(name, value):
    code = f"import os; from d2l_ext import mxnet; print(os.environ.get({name!r}))"
    assert run(code, **{name: value}) == value


def test_numpy_arrays_and_shapes_are_on():
    code = "from d2l_ext import mxnet; from mxnet import npx; print(npx.is_np_array())"
    assert run(code) == "True"


def test_an_empty_array_is_refused():
    """Some operators end the process on one."""
    with pytest.raises(ValueError, match=r"empty array, of shape \(0,"):
        BE.api.masked_softmax(BE.array(np.zeros((0, 2, 3))), BE.array(np.zeros(0, int)))


@pytest.mark.parametrize("dtype", ["int16", "uint16", "uint32", "uint64"])
def test_integers_of_any_size_become_int64(dtype):
    back = BE.numpy(BE.array(np.array([0, 7], dtype)))
    assert back.dtype == np.int64
    np.testing.assert_array_equal(back, [0, 7])


@pytest.mark.parametrize("value", [1j, "word"])
def test_a_dtype_without_counterpart_is_named(value):
    with pytest.raises(ValueError, match=r"got dtype .*, which MXNet does not have"):
        BE.array(np.array([value]))


def test_float16_models_are_refused():
    q = np.ones((1, 2, 3))
    with pytest.raises(ValueError, match=r"dtype \(mxnet\): got 'float16'"):
        BE.model(BE.api.DotProductAttention(0), q, q, q, dtype="float16")


def test_gelu_and_its_derivative_are_exact_in_float64():
    from scipy.stats import norm

    from d2l_ext.mxnet.layers import gelu

    x = np.linspace(-5, 5, 41)
    value, (gradient,) = BE.vjp(gelu, (x,), np.ones_like(x))
    np.testing.assert_allclose(value, x * norm.cdf(x), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(gradient, norm.cdf(x) + x * norm.pdf(x), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("scale", [1.0, 1e-2])  # with the small one, epsilon is a third of all
def test_layer_norm_has_its_whole_epsilon_in_float64(scale):
    from d2l_ext.mxnet.layers import LayerNorm

    x = scale * np.random.default_rng(0).standard_normal((3, 6))
    model = BE.model(LayerNorm(6), x, dtype="float64")
    wanted = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(model(x), wanted, rtol=1e-13)


def test_log_probabilities_are_exact_far_from_the_most_likely_token():
    """Where the softmax is rounded to zero in float32, the loss and its gradient are not."""
    logits = np.array([[[0, -200.0, 3.0]]], np.float32)
    label = np.array([[1]])
    loss, (gradient, _) = BE.vjp(BE.api.masked_loss, (logits, label), np.float32(1))
    assert abs(loss - (203 + np.log1p(np.exp(-3)))) < 1e-4
    p = np.exp([-3, -np.inf, 0]) / (1 + np.exp(-3))
    np.testing.assert_allclose(gradient[0, 0], p - [0, 1, 0], atol=1e-6)


def test_gradients_of_an_earlier_step_do_not_stay():
    """MXNet leaves the gradient of a parameter that a step does not use as it was."""
    q = np.random.default_rng(0).standard_normal((1, 2, 3))
    model = BE.model(BE.api.AdditiveAttention(4, 0), q, q, q, dtype="float64")
    _, used, _ = model.vjp((q, q, q), np.ones((1, 2, 3)))
    _, unused, _ = model.vjp((q, q, q), None)
    assert all(g.any() for g in used.values())
    assert not any(g.any() for g in unused.values())


def test_a_block_is_used_as_gluon_blocks_are():
    from mxnet import autograd

    queries = BE.array(np.ones((2, 3, 4), np.float32))
    block = BE.api.AdditiveAttention(5, dropout=0.5)
    block.initialize()
    with autograd.record():
        output = block(queries, queries, queries)
    output.backward()
    assert block.W_q.weight.grad().shape == (5, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        block.cast("float64")
        assert block(*[queries.astype("float64")] * 3).dtype == np.float64
