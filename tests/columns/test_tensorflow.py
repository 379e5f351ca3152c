"""What only the TensorFlow column promises: its code can be traced, with shapes known or not."""

import math

import numpy as np
import pytest

import d2l_ext
from d2l_ext.nested import nest

tf = pytest.importorskip("tensorflow")
BE = d2l_ext.backend("tensorflow")
SIZES = dict(vocab_size=11, num_hiddens=12, ffn_num_hiddens=10, num_heads=6, num_kv_heads=2)
OPTIONS = {
    "Llama": {},
    "GPT-2": dict(position="learned", norm="layer", activation="gelu_tanh", max_len=20),
    "ALiBi, sinks": dict(position="alibi", window=3, num_sinks=2),
    "Mixtral": dict(window=4, num_experts=3, tie_weights=False),
}


# One with a cache that grows and one with a rolling cache in the quick tests.
SOME = [
    pytest.param(n, marks=[] if n in ("GPT-2", "ALiBi, sinks") else pytest.mark.slow)
    for n in OPTIONS
]


@pytest.fixture(autouse=True)
def graphs():
    """Functions are compiled here; elsewhere in the tests they run as they stand."""
    with BE.eagerly(False):
        yield


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def compiled(function, xla, signature=None):
    """A compiled function and the list of its traces."""
    traces = []

    def traced(*args):
        traces.append(args)
        return function(*args)

    options = dict(autograph=False, jit_compile=xla, input_signature=signature)
    return tf.function(traced, **options), traces


@pytest.mark.parametrize(
    ("name", "xla"),
    [
        ("GPT-2", False),
        ("ALiBi, sinks", False),
        ("GPT-2", True),
        pytest.param("Llama", False, marks=pytest.mark.slow),
        pytest.param("Mixtral", False, marks=pytest.mark.slow),
        pytest.param("Mixtral", True, marks=pytest.mark.slow),
    ],
)
def test_one_trace_serves_all_steps_of_decoding(name, xla):
    """A prompt longer than the window, then tokens, beyond what a rolling cache holds."""
    X = np.random.default_rng(0).integers(0, 11, (2, 16))
    num_blks = 1 if xla else 2
    model = BE.model(BE.api.GPT(**SIZES, num_blks=num_blks, **OPTIONS[name]), X, dtype="float64")
    whole, module, X = model(X), model.module, BE.array(X)
    step, traces = compiled(module, xla)
    state = module.reserve(module.init_state(2), 16)
    logits, state = step(X[:, :6], state)
    found = [logits]
    for t in range(6, 16):
        logits, state = step(X[:, t : t + 1], state)
        found.append(logits)
    assert len(traces) == 2
    assert int(state[1]) == 16
    np.testing.assert_allclose(tf.concat(found, axis=1), whole, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", SOME)
def test_one_trace_serves_pieces_of_any_length(name):
    X = np.random.default_rng(0).integers(0, 11, (2, 16))
    model = BE.model(BE.api.GPT(**SIZES, num_blks=2, **OPTIONS[name]), X, dtype="float64")
    whole, module, X = model(X), model.module, BE.array(X)
    state = module.reserve(module.init_state(2), 16)
    specs = nest(lambda x: tf.TensorSpec(x.shape, x.dtype), state)
    step, traces = compiled(module, False, [tf.TensorSpec((2, None), X.dtype), specs])
    found = []
    for start, end in ((0, 1), (1, 9), (9, 10), (10, 16)):
        logits, state = step(X[:, start:end], state)
        found.append(logits)
    assert len(traces) == 1
    np.testing.assert_allclose(tf.concat(found, axis=1), whole, rtol=1e-10, atol=1e-11)


def test_a_cache_without_room_left_is_an_error():
    model = BE.model(BE.api.GPT(**SIZES, num_blks=1), np.zeros((1, 2), int))
    module = model.module
    step, _ = compiled(module, False)
    state = module.reserve(module.init_state(1), 2)
    _, state = step(tf.zeros((1, 2), "int64"), state)
    with pytest.raises(tf.errors.InvalidArgumentError):
        step(tf.zeros((1, 1), "int64"), state)
    with pytest.raises(ValueError, match="state: got room for 2 steps, must be reserved for 3"):
        module(tf.zeros((1, 1), "int64"), state)


@pytest.mark.parametrize("name", SOME)
def test_a_language_model_of_any_size_of_batch_is_one_trace(name):
    module = BE.api.GPT(**SIZES, num_blks=2, **OPTIONS[name])
    model = BE.model(module, np.zeros((1, 2), int), dtype="float64")
    signature = [tf.TensorSpec((None, None), "int64")]
    function, traces = compiled(model.module, False, signature)
    for shape in ((2, 7), (3, 5), (1, 1)):
        X = np.random.default_rng(0).integers(0, 11, shape)
        np.testing.assert_allclose(function(BE.array(X)), model(X), rtol=1e-11, atol=1e-12)
    assert len(traces) == 1


def gradients(function):
    """Output and input gradients for a cotangent, to be traced."""

    def inner(*inputs):
        *inputs, cotangent = inputs
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            output = function(*inputs)
        return output, *tape.gradient(output, inputs, cotangent)

    return inner


def assert_all_close(found, wanted):
    for x, y in zip(found, wanted, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-10, atol=1e-11)


SHAPES = (2, 3, 5, 4), (2, 1, 7, 4), (1, 7, 6)  # queries, keys, values
MASKS = {
    "none": None,
    "keys": draw(8, 7) < 0.3,
    "queries": draw(8, 5, 1) < 0.3,
    "all": draw(8, 2, 1, 5, 7) < 0.3,
}


@pytest.mark.parametrize("xla", [pytest.param(False, marks=pytest.mark.slow), True, None])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", MASKS)
def test_blockwise_attention_can_be_compiled(mask, causal, xla):
    """With shapes unknown, too (None); XLA needs them."""
    mask = BE.array(MASKS[mask])
    both = np.tri(5, 7, 2, dtype=bool) if causal else np.ones((5, 7), bool)
    both = both if mask is None else both & mask
    inputs = BE.array([draw(i, *shape) for i, shape in enumerate(SHAPES)])
    inputs.append(BE.array(draw(3, 2, 3, 5, 6)))
    signature = [tf.TensorSpec((*[None] * len(x.shape[:-1]), x.shape[-1]), x.dtype) for x in inputs]

    def blockwise(*inputs):
        return BE.api.blockwise_attention(*inputs, mask, causal, block_size=3)

    function, _ = compiled(gradients(blockwise), bool(xla), signature if xla is None else None)
    wanted = gradients(lambda *inputs: BE.api.attention(*inputs, both)[0])(*inputs)
    assert_all_close(function(*inputs), wanted)


def test_blockwise_attention_keeps_no_block_for_the_gradient():
    """What the tape keeps grows with the number of keys, not with its square."""

    def kept(num_steps):
        inputs = [tf.ones((num_steps, 4)) for _ in range(3)]
        function, _ = compiled(
            gradients(lambda *x: BE.api.blockwise_attention(*x, None, True, 8)), False
        )
        graph = function.get_concrete_function(*inputs, inputs[0]).graph
        shapes = [tensor.shape for op in graph.get_operations() for tensor in op.outputs]
        return max(math.prod(s) for s in shapes if s.is_fully_defined())

    assert kept(512) <= 2 * kept(256)


@pytest.mark.parametrize("xla", [False, True, None])
@pytest.mark.parametrize("form", ["parallel", "recurrent", "chunked"])
def test_linear_attention_can_be_compiled(form, xla):
    X = BE.array(draw(0, 2, 7, 6))
    module = BE.api.LinearAttention(6, 3, form, chunk_size=3)
    model = BE.model(module, np.zeros((1, 2, 6)), dtype="float64")
    signature = [tf.TensorSpec((None, None, 6), X.dtype)] * 2 if xla is None else None
    function, _ = compiled(gradients(model.module), bool(xla), signature)
    assert_all_close(function(X, X), gradients(model.module)(X, X))


def test_compiled_softmax_sums_half_precision_in_float32():
    X = tf.cast(draw(0, 2, 4096), "bfloat16")
    function, _ = compiled(BE.api.masked_softmax, True)
    weights, exps = BE.numpy(function(X)), np.exp(BE.numpy(X).astype("float64"))
    np.testing.assert_allclose(weights, exps / exps.sum(-1, keepdims=True), rtol=2.0**-8)


def test_many_trainers_are_no_warning(caplog):
    """TensorFlow counts compilations by the code, of whichever trainer; others' are still told."""
    X, other = np.zeros((1, 4), int), tf.function(lambda x: x)
    for num_hiddens in range(12, 84, 12):
        sizes = SIZES | {"num_hiddens": num_hiddens}
        model = BE.model(BE.api.GPT(**sizes, num_blks=1), X, dtype="float64")
        BE.trainer(model, lr=0.01, compile=False).step((X, X))
        other(tf.zeros(num_hiddens))
    assert [r.getMessage() for r in caplog.records if "Trainer" in r.getMessage()] == []
    assert "tf.function retracing" in caplog.text


def test_a_layer_of_another_precision_is_named():
    """A user's layer that has chosen its own dtype would be cast at every call."""
    keras = tf.keras

    class Own(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.weight = self.add_weight((2, 2), dtype="float16", name="weight")

        def call(self, X):
            return X @ tf.cast(self.weight, X.dtype)

    with pytest.raises(ValueError, match=r"weight: got dtype float16, must be float32"):
        BE.model(Own(), np.ones((3, 2), "float32"))
