"""The JAX column's modules as NNX modules: alone, inside traces, split and merged."""

import numpy as np
import pytest

import d2l_ext

jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")

from d2l_ext.jax.layers import Dropout, matrix  # noqa: E402 - where JAX is installed

be = d2l_ext.backend("jax")
rng = np.random.default_rng(0)
Q, K = (rng.standard_normal(shape).astype("float32") for shape in ((2, 3, 4), (2, 5, 4)))
SRC, TGT = rng.integers(3, 9, (2, 5)), rng.integers(3, 9, (2, 4))


def translator(num_hiddens=4, **options):
    api = be.api
    return api.EncoderDecoder(
        api.Seq2SeqEncoder(9, 3, num_hiddens, 2, **options),
        api.Seq2SeqAttentionDecoder(9, 3, num_hiddens, 2, **options),
    )


@pytest.mark.parametrize(
    ("name", "args"), [("AdditiveAttention", (6, 0.1)), ("BilinearAttention", (0.1,))]
)
def test_the_first_call_may_be_inside_a_trace(name, args):
    module = getattr(be.api, name)(*args)
    with jax.checking_leaks():
        traced = jax.jit(lambda q: module(q, K, K))(Q)
        jax.grad(lambda q: module(q, K, K).sum())(Q)
        jax.vmap(lambda q: module(q[None], K[:1], K[:1]))(Q)
    assert module.attention_weights is None
    np.testing.assert_allclose(traced, module(Q, K, K), atol=1e-6)
    assert isinstance(module.attention_weights, jax.Array)


def test_traces_leave_the_weights_of_the_last_call():
    module = translator()
    module(SRC, TGT)
    before = module.attention_weights
    jax.jit(lambda tokens: module(SRC, tokens))(TGT[:, :2])
    assert module.attention_weights is before
    assert before.shape == (4, 2, 1, 5)
    assert nnx.jit(lambda module: module(SRC, TGT))(module).shape == (2, 4, 9)


def test_weights_are_made_by_a_decoder_that_is_fed_its_own_tokens():
    module = translator()
    logits = module(SRC, TGT, None, np.array([True, False, True, False]))
    assert (logits.shape, module.attention_weights.shape) == ((2, 4, 9), (1, 2, 1, 5))


def test_equal_modules_share_what_is_compiled():
    one, other = (be.model(translator(), SRC, TGT) for _ in range(2))
    assert one.structure is other.structure
    assert one.structure is not be.model(translator(dropout=0.1), SRC, TGT).structure
    assert one.structure is not be.model(translator(num_hiddens=6), SRC, TGT).structure
    used = translator(dropout=0.1)
    used(SRC, TGT, training=True)
    fresh = be.model(translator(dropout=0.1), SRC, TGT)
    assert be.model(used, SRC, TGT).structure is fresh.structure


def test_a_model_leaves_the_module_as_it_was():
    module = translator()
    before = module(SRC, TGT)
    model = be.model(module, SRC, TGT)
    np.testing.assert_array_equal(module(SRC, TGT), before)
    with pytest.raises(TypeError):  # it has no weights
        model.module(SRC, TGT)
    np.testing.assert_allclose(model.merged()(SRC, TGT), model(SRC, TGT), atol=1e-6)


def test_blocks_keep_their_order_beyond_ten():
    module = be.api.TransformerDecoder(9, 4, 5, 2, 12, 0)
    model = be.model(module, SRC, [np.ones((2, 3, 4)), None, [None] * 12, [None] * 12, 0])
    assert [blk.i for blk in model.merged().blks] == list(range(12))
    assert "blks.block11.ffn.dense1.weight" in model.shapes()


def test_own_dropout_draws_anew_unless_it_is_given_a_key():
    layer, X = Dropout(0.5), np.ones(100)
    assert not np.array_equal(layer(X, training=True), layer(X, training=True))
    layer.key = jax.random.key(0)
    np.testing.assert_array_equal(layer(X, training=True), layer(X, training=True))
    layer.given = jax.numpy.full(200, 3.0)
    np.testing.assert_array_equal(layer(X, training=True), np.full(100, 3.0))
    assert layer.asked == (100,)


@pytest.mark.parametrize("window", [(), (2, 3)])
def test_a_module_on_its_own_starts_as_a_model_does(window):
    weight = np.asarray(matrix(200, 400, *window)[...])
    bound = np.sqrt(6 / (600 * np.prod(window)))
    assert weight.dtype == np.float32
    assert 0.99 * bound < weight.max() <= bound
    assert -bound <= weight.min() < -0.99 * bound
    assert abs(weight.mean()) < 0.01 * bound


def test_arguments_are_known():
    module = translator()
    assert module.config == {"encoder": module.encoder, "decoder": module.decoder}
    assert module.encoder.config["num_hiddens"] == 4


@pytest.mark.parametrize("wide", [True, False])
def test_rotary_angles_are_exact_where_positions_are_traced(wide):
    """Also without float64, where an angle computed in float32 would be off by 4e-3."""
    positions = np.array([0, 1, -1, 63, 64, 4097, 100_000, -131_071, 2**31 - 1], np.int32)
    X = rng.standard_normal((len(positions), 64)).astype("float32")
    exact = be.numpy(be.api.rotate(X, positions))
    try:
        jax.config.update("jax_enable_x64", wide)
        traced = np.asarray(jax.jit(be.api.rotate)(X, positions))
    finally:
        jax.config.update("jax_enable_x64", True)
    assert traced.dtype == np.float32
    assert np.abs(traced - exact).max() <= 8 * 2.0**-24 * np.abs(exact).max()


@pytest.mark.parametrize("position", ["rotary", "alibi", "learned"])
@pytest.mark.parametrize("rolling", [(None, 0), (4, 2)])
def test_one_compiled_function_serves_all_steps(position, rolling):
    module = be.api.GPT(9, 8, 5, 4, 2, 2, 0, position, "rms", "swiglu", *rolling)
    X, traces = rng.integers(0, 9, (2, 20)), []
    model = be.model(module, X, dtype="float64")
    whole = model(X)

    @jax.jit
    def step(params, tokens, state):
        traces.append(tokens.shape)
        return model.structure.merge(params)(tokens, state)

    state = model.merged().reserve(module.init_state(2), 20, 32)
    state = jax.tree.map(lambda x: x.astype("float64") if x.ndim else x, state)
    for i in range(20):
        logits, state = step(model.params, X[:, i : i + 1], state)
        np.testing.assert_allclose(logits[:, 0], whole[:, i], rtol=1e-10, atol=1e-12)
    assert traces == [(2, 1)]
    assert {cache.shape[3] for cache in state[0]} == {32 if rolling[0] is None else 6}


@pytest.mark.parametrize("window", [None, 3])
def test_a_cache_with_too_little_room_is_an_error(window):
    module = be.api.GPT(9, 8, 5, 4, 2, 1, window=window)
    model, X = be.model(module, TGT), np.zeros((2, 3), int)
    state = model.call("reserve", model.call("init_state", 2), 2)
    with pytest.raises(ValueError, match="state: got room for 2 steps, must be reserved for 3"):
        model(X, state)
    _, state = model(X[:, :2], state)
    with pytest.raises(ValueError, match="state: got room for 2 steps, must be reserved for 3"):
        model(X[:, :1], state)


def test_attention_in_blocks_keeps_none_for_the_gradient():
    """The memory of the whole gradient grows with the number of keys, not with its square."""

    def temporary(num_steps):
        inputs = [jax.ShapeDtypeStruct((num_steps, 4), "float32")] * 3

        def total(q, k, v):
            return be.api.blockwise_attention(q, k, v, causal=True, block_size=8).sum()

        compiled = jax.jit(jax.grad(total, (0, 1, 2))).lower(*inputs).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(1024) <= 2.2 * temporary(512)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_attention_in_blocks_sums_half_precision_in_float32(dtype):
    exact = rng.standard_normal((3, 512, 8))
    inputs = jax.numpy.asarray(exact, dtype)
    output = be.api.blockwise_attention(*inputs, block_size=4)
    wanted = be.numpy(be.api.attention(*inputs.astype("float64"))[0])
    unit = float(jax.numpy.finfo(dtype).eps) / 2
    assert output.dtype == dtype
    error = np.abs(be.numpy(output).astype("float64") - wanted).max()
    assert error <= 1.01 * unit * np.abs(wanted).max()
