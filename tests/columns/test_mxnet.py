"""What is particular to the MXNet column: its start, its arrays, and where it mends an operator."""

import ast
import itertools
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import d2l_ext

if "mxnet" not in d2l_ext.installed():
    pytest.skip("mxnet is not installed", allow_module_level=True)

BE = d2l_ext.backend("mxnet")

import mxnet as mx  # noqa: E402  # after the column, which prepares NumPy for it
from mxnet import np as mnp  # noqa: E402
from mxnet import npx  # noqa: E402

from d2l_ext.mxnet import numpy2  # noqa: E402


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


def test_importing_warns_of_nothing_and_leaves_numpy_as_it_was():
    """Apart from parts of NumPy that load when they are asked for, as `numpy.random`."""
    code = """
import numpy, types
before = dict(vars(numpy))
from d2l_ext import mxnet
after = dict(vars(numpy))
changed = {n for n in before.keys() | after.keys() if before.get(n, n) is not after.get(n, n)}
print({n for n in changed if not isinstance(after.get(n), types.ModuleType)} or "nothing")
"""
    assert run(code) == "nothing"


def test_mxnet_finds_the_names_that_numpy_has_dropped_when_it_runs_too():
    from mxnet.gluon.contrib.estimator import event_handler

    assert event_handler.np.Inf == np.inf
    assert event_handler.np is not np
    padded = mnp.pad(mnp.ones((1, 1)), ((0, 0), (1, 2)))  # asks for `numpy.compat`
    assert padded.asnumpy().tolist() == [[0, 1, 0, 0]]


# Numbers as a computation gives them: what NumPy 2 writes as np.int64(3).
NUMBERS = st.sampled_from([int, np.int32, np.int64, np.uint8])


@given(NUMBERS, NUMBERS, st.integers(1, 3), st.integers(1, 4))
def test_parameters_may_be_numbers_of_numpy(kind, other, rows, columns):
    X = mnp.arange(rows * columns).reshape((kind(rows), other(columns)))
    assert X.shape == (rows, columns)
    assert X.sum(axis=kind(1)).shape == (rows,)
    assert mnp.transpose(X, (kind(1), other(0))).shape == (columns, rows)
    assert mnp.full((kind(rows), columns), np.float64(0.5)).shape == (rows, columns)
    assert npx.one_hot(mnp.zeros(rows), kind(columns)).shape == (rows, columns)
    assert mnp.squeeze(X[None, :, :, None], (kind(0), other(3))).shape == (rows, columns)


@given(
    st.recursive(
        st.integers(-5, 5).flatmap(lambda n: st.sampled_from([n, np.int64(n), np.float32(n)]))
        | st.sampled_from([None, "float32", True, np.bool_(True)]),
        lambda inner: st.lists(inner, max_size=3).map(tuple),
    )
)
def test_parameters_become_the_text_that_python_writes(value):
    written = numpy2.text(value)
    assert "np." not in written and "numpy" not in written
    if not isinstance(value, str):
        assert ast.literal_eval(written) == value


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
    from d2l_ext.mxnet.normalization import LayerNorm

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


ORDERS = list(itertools.permutations(d2l_ext.COLUMNS))


@pytest.mark.parametrize(
    "order",
    # MXNet first in the quick tests.
    [pytest.param(o, marks=[pytest.mark.slow] * (i != 6)) for i, o in enumerate(ORDERS)],
    ids="-".join,
)
def test_the_four_load_in_any_order_and_compute(order):
    if set(d2l_ext.installed()) != set(d2l_ext.COLUMNS):
        pytest.skip("not all four are installed")
    code = f"""
import d2l_ext, numpy as np
for name in {order!r}:
    api, be = __import__("d2l_ext." + name, fromlist=["x"]), d2l_ext.backend(name)
for name in {order!r}:
    be = d2l_ext.backend(name)
    weights = be.numpy(be.api.masked_softmax(be.array(np.ones((1, 2, 4))), be.array(np.array([3]))))
    assert np.allclose(weights, [[[1 / 3, 1 / 3, 1 / 3, 0]] * 2]), (name, weights)
"""
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu", "KERAS_BACKEND": "tensorflow"}
    assert run(code, **quiet) == ""


def test_a_product_has_the_gradient_of_what_it_broadcasts():
    """That of MXNet's own `matmul` is wrong, along an axis between others."""
    from d2l_ext.mxnet.layers import matmul

    rng = np.random.default_rng(0)
    X, Y, C = (rng.standard_normal(shape) for shape in ((2, 3, 5, 4), (2, 1, 4, 6), (2, 3, 5, 6)))
    product, (by_X, by_Y) = BE.vjp(matmul, (X, Y), C)
    np.testing.assert_allclose(product, X @ Y, rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(by_X, C @ Y.swapaxes(2, 3), rtol=1e-13, atol=1e-14)
    wanted = (X.swapaxes(2, 3) @ C).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(by_Y, wanted, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (1, 2)])
def test_blockwise_attention_has_the_gradients_that_are_asked_for(wanted):
    """A function of one's own computes none in MXNet after an input that has none."""
    from mxnet import autograd

    arrays = np.random.default_rng(0).standard_normal((3, 2, 5, 4))

    def gradients(function):
        inputs = [BE.array(x) for x in arrays]
        for i in wanted:
            inputs[i].attach_grad()
        with autograd.record():
            total = (function(*inputs) ** 2).sum()
        total.backward()
        return [inputs[i].grad.asnumpy() for i in wanted]

    found = gradients(lambda *inputs: BE.api.blockwise_attention(*inputs, block_size=2))
    full = gradients(lambda *inputs: BE.api.attention(*inputs)[0])
    np.testing.assert_allclose(found, full, rtol=1e-11, atol=1e-12)


def test_blockwise_attention_keeps_no_block_for_the_gradient():
    """What is kept for the backward pass grows with the number of keys, not with its square."""
    from d2l_ext.mxnet.blockwise import _Blockwise

    function = _Blockwise([(9, 4), (70, 4), (70, 3)], None, False, 8)
    function(BE.array(np.ones(9 * 4 + 70 * 7)))
    assert sum(x.size for x in function.saved_tensors) == 9 * 4 + 70 * 7 + 9 * 3 + 9


def test_a_cache_that_forgets_all_has_a_gradient():
    """With a window of one step; where nothing is taken, that of MXNet's `take` is undefined."""
    from d2l_ext.mxnet.caching import append

    def forget(keys, values, empty):
        (keys, values), _, cache = append((empty, empty), (keys, values), 0, window=1)
        return keys, values, *cache

    X, empty = np.ones((2, 1, 3, 4)), np.ones((2, 1, 0, 4))
    outputs, gradients = BE.vjp(forget, (X, X, empty), (X, 2 * X, empty, empty))
    assert [x.shape for x in outputs] == [x.shape for x in (X, X, empty, empty)]
    np.testing.assert_array_equal(gradients[0], X)
    np.testing.assert_array_equal(gradients[1], 2 * X)


def batches(rng, num, vocab_size=11, shape=(4, 5)):
    """Yield source ids, target ids, lengths and labels, which differ from batch to batch."""
    for _ in range(num):
        ids = rng.integers(vocab_size, size=(3, *shape))
        yield ids[0], ids[1], rng.integers(shape[1] + 1, size=shape[0]), ids[2]


def both_trainers(decoder, *example, dropout=0.3):
    """Return two trainers of equal models, the second compiled."""
    encoder = "TransformerEncoder" if decoder == "TransformerDecoder" else "Seq2SeqEncoder"
    sizes = (8, 6, 2, 2) if decoder == "TransformerDecoder" else (7, 8, 2)
    found = []
    for compile in (False, True):
        parts = [getattr(BE.api, name)(11, *sizes, dropout) for name in (encoder, decoder)]
        model = BE.model(BE.api.EncoderDecoder(*parts), *example)
        found.append(BE.trainer(model, 0.05, max_norm=1.0, pad=0, compile=compile))
    return found


def assert_equal(one, other):
    """Assert that two trainers have the same bits."""
    for name, value in one.model.parameters().items():
        np.testing.assert_array_equal(other.model.parameters()[name], value)
    for moment in ("m", "v"):
        for name, value in one.state()[moment].items():
            np.testing.assert_array_equal(other.state()[moment][name], value)


@pytest.mark.parametrize("decoder", ["Seq2SeqDecoder", "LuongDecoder", "TransformerDecoder"])
def test_a_compiled_step_is_the_written_one_bit_for_bit(decoder):
    """Of batches that differ in all their numbers, and of two shapes in turn."""
    rng = np.random.default_rng(0)
    of_two_shapes = zip(batches(rng, 3), batches(rng, 3, shape=(2, 6)), strict=True)
    todo = list(itertools.chain(*of_two_shapes))
    written, compiled = both_trainers(decoder, *todo[0][:3])
    for batch in todo:
        assert compiled.step(batch) == written.step(batch)
    assert_equal(written, compiled)
    assert [graph.operator is not None for graph in compiled._graphs.values()] == [True, True]
    assert not written._graphs


def test_a_step_that_reads_its_input_is_not_one_operator():
    """Which tokens the decoder is fed is decided in Python, anew for each batch."""
    rng = np.random.default_rng(0)
    todo = list(batches(rng, 4))
    written, compiled = both_trainers("Seq2SeqDecoder", *todo[0][:3])
    for *inputs, labels in todo:
        batch = (*inputs, rng.random(5) < 0.5, labels)
        assert compiled.step(batch) == written.step(batch)
    assert_equal(written, compiled)


def test_a_compiled_step_is_told_of_bad_ids_all_the_same():
    (src, tgt, lens, labels), *_ = batches(np.random.default_rng(0), 1)
    _, trainer = both_trainers("Seq2SeqDecoder", src, tgt, lens)
    trainer.step((src, tgt, lens, labels))
    wrong = np.full_like(src, 11)
    bad = {0: (wrong, tgt, lens, labels), 1: (src, wrong, lens, labels)}
    bad |= {2: (src, tgt, lens + 6, labels), 3: (src, tgt, lens, wrong)}
    for batch in bad.values():
        before = trainer.model.parameters()
        with pytest.raises(ValueError, match="got"):
            trainer.step(batch)
        for name, value in trainer.model.parameters().items():
            np.testing.assert_array_equal(value, before[name])


def test_dropout_of_its_own_is_drawn_anew_at_each_compiled_step():
    batch = next(batches(np.random.default_rng(0), 1))
    _, trainer = both_trainers("Seq2SeqDecoder", *batch[:3], dropout=0.5)
    trainer.lr = 1e-30
    assert len({trainer.step(batch, dropout="own") for _ in range(4)}) == 4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adam_in_one_operator_is_the_formula(dtype):
    """Also in its moments; MXNet's own operator would have v 1.3e-5 off."""
    rng = np.random.default_rng(0)
    gradients = rng.standard_normal((20, 6, 4))
    p, m, v = rng.standard_normal((6, 4)), np.zeros((6, 4)), np.zeros((6, 4))
    dense = mx.gluon.nn.Dense(6, in_units=4, use_bias=False)
    model = BE.model(dense, np.ones((1, 4)), dtype=dtype)
    model.load_parameters({"weight": p})
    trainer = BE.trainer(model, 0.01)
    for t, g in enumerate(gradients, start=1):
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        p = p - 0.01 * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        dense.weight.grad()[:] = mnp.array(g, dtype=dtype)
        trainer._adam(1 - 0.9**t, 1 - 0.999**t)
    tolerance = 20 * np.finfo(dtype).eps
    for found, wanted in ((model.parameters(), p), (trainer.state()["m"], m)):
        np.testing.assert_allclose(found["weight"], wanted, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(trainer.state()["v"]["weight"], v, rtol=tolerance)
