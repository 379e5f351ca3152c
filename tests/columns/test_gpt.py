"""Grouped queries, caches and the language model in every column."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import special

import d2l_ext

SIZES = dict(vocab_size=11, num_hiddens=12, ffn_num_hiddens=10, num_heads=6, num_kv_heads=2)
OPTIONS = {
    "Llama": {},
    "GPT-2": dict(position="learned", norm="layer", activation="gelu_tanh"),
    "ALiBi": dict(position="alibi", activation="geglu", tie_weights=False),
    "Mistral": dict(window=3),
    "sinks": dict(window=3, num_sinks=2),
    "ALiBi, sinks": dict(position="alibi", window=2, num_sinks=1),
    "Mixtral": dict(window=4, num_experts=3, tie_weights=False),
    "no positions": dict(position=None, activation="relu", window=1),
}


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def tokens(seed=0, batch=2, num_steps=9):
    return np.random.default_rng(seed).integers(0, SIZES["vocab_size"], (batch, num_steps))


def ready(be, module, *inputs, dtype="float64"):
    """A model whose parameters are all random: biases and scales count too."""
    model = be.model(module, *inputs, dtype=dtype)
    rng = np.random.default_rng(1)
    shapes = sorted(model.shapes().items())
    model.load_parameters({k: 0.5 * rng.standard_normal(shape) for k, shape in shapes})
    return model


_models = {}


def gpt(be, **options):
    """A model of two blocks; the same one for the same options."""
    key = be.name, *sorted(options.items(), key=str)
    if key not in _models:
        module = be.api.GPT(**(SIZES | dict(num_blks=2, max_len=64) | options))
        _models[key] = ready(be, module, tokens())
    return _models[key]


def attention(be, X, num_kv_heads=2, **options):
    return ready(be, be.api.GroupedQueryAttention(12, 6, num_kv_heads, **options), X)


ACTIVATIONS = {
    "swiglu": lambda x: x / (1 + np.exp(-x)),
    "geglu": lambda x: x * special.ndtr(x),
    "gelu": lambda x: x * special.ndtr(x),
    "gelu_tanh": lambda x: x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: np.maximum(x, 0),
}


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_feed_forward_is_the_formula(be, activation):
    X, f = draw(0, 2, 3, 4), ACTIVATIONS[activation]
    model = ready(be, be.api.FeedForward(4, 5, activation), X)
    p = model.parameters()
    up = X @ p["up.weight"].T + p.get("up.bias", 0)
    inner = f(X @ p["gate.weight"].T) * up if "gate.weight" in p else f(up)
    wanted = inner @ p["down.weight"].T + p.get("down.bias", 0)
    np.testing.assert_allclose(model(X), wanted, rtol=1e-11, atol=1e-13)
    gated = activation in ("swiglu", "geglu")
    names = {"gate", "up", "down"} if gated else {"up", "down"}
    biases = set() if gated else {"up.bias", "down.bias"}
    assert set(p) == {f"{name}.weight" for name in names} | biases


def by_hand(X, p, num_heads, num_kv_heads, window=None, num_sinks=0):
    """Each query's head on its own, without positions."""
    batch, num_steps, size = X.shape
    d, output = size // num_heads, np.zeros_like(X)
    weights = np.zeros((batch, num_heads, num_steps, num_steps))
    q, k, v = (X @ p[f"W_{name}.weight"].T for name in "qkv")
    for b in range(batch):
        for h in range(num_heads):
            own = slice(h * d, h * d + d)
            shared = h // (num_heads // num_kv_heads)
            theirs = slice(shared * d, shared * d + d)
            for i in range(num_steps):
                seen = [
                    j for j in range(i + 1) if window is None or j > i - window or j < num_sinks
                ]
                exps = np.exp([q[b, i, own] @ k[b, j, theirs] / math.sqrt(d) for j in seen])
                weights[b, h, i, seen] = exps / exps.sum()
                output[b, i, own] = weights[b, h, i] @ v[b, :, theirs]
    return output @ p["W_o.weight"].T, weights.reshape(-1, num_steps, num_steps)


@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
@pytest.mark.parametrize("window", [(None, 0), (3, 0), (1, 0), (2, 2)])
def test_grouped_queries_are_the_formula(be, num_kv_heads, window):
    X = draw(0, 2, 7, 12)
    options = dict(zip(("window", "num_sinks"), window, strict=True))
    model = attention(be, X, num_kv_heads, position=None, **options)
    wanted, weights = by_hand(X, model.parameters(), 6, num_kv_heads, *window)
    np.testing.assert_allclose(model(X), wanted, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(model.attention_weights, weights, rtol=1e-11, atol=1e-13)


@given(seed=st.integers(0, 999), use_bias=st.booleans())
@settings(max_examples=4)
def test_as_many_key_heads_as_heads_is_multi_head_attention(be, seed, use_bias):
    X = draw(seed, 2, 5, 12)
    model = attention(be, X, 6, position=None, use_bias=use_bias)
    peer = be.model(be.api.MultiHeadAttention(12, 6, 0, use_bias), X, X, X, dtype="float64")
    peer.load_parameters(model.parameters())
    wanted = peer(X, X, X, None, np.tri(5, dtype=bool))
    np.testing.assert_allclose(model(X), wanted, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(model.attention_weights, peer.attention_weights, rtol=1e-10)


@given(seed=st.integers(0, 999), num_kv_heads=st.sampled_from([1, 2, 3]))
@settings(max_examples=4)
def test_shared_key_heads_are_equal_key_heads(be, seed, num_kv_heads):
    """Neighbouring heads share: W_k and W_v of the larger model are repeated, not tiled."""
    X = draw(seed, 2, 5, 12)
    few, all_heads = attention(be, X, num_kv_heads), attention(be, X, 6)
    p = few.parameters()
    for name in ("W_k.weight", "W_v.weight"):
        heads = p[name].reshape(num_kv_heads, 2, 12)
        p[name] = np.repeat(heads, 6 // num_kv_heads, axis=0).reshape(12, 12)
    all_heads.load_parameters(p)
    np.testing.assert_allclose(all_heads(X), few(X), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
def test_equals_torchs_own(be, num_kv_heads):
    torch = pytest.importorskip("torch")
    X = draw(0, 2, 7, 12)
    model = attention(be, X, num_kv_heads, position=None, use_bias=True)
    p = {k: torch.from_numpy(v) for k, v in model.parameters().items()}

    def heads(name):
        projected = torch.from_numpy(X) @ p[f"W_{name}.weight"].T + p[f"W_{name}.bias"]
        return projected.unflatten(-1, (-1, 2)).transpose(1, 2)

    peer = torch.nn.functional.scaled_dot_product_attention(
        heads("q"), heads("k"), heads("v"), is_causal=True, enable_gqa=True
    )
    wanted = peer.transpose(1, 2).flatten(2) @ p["W_o.weight"].T + p["W_o.bias"]
    np.testing.assert_allclose(model(X), wanted, rtol=1e-11, atol=1e-12)


@given(seed=st.integers(0, 999), beyond=st.integers(0, 3), sinks=st.integers(0, 2))
@settings(max_examples=4)
def test_a_window_as_long_as_the_text_is_none(be, seed, beyond, sinks):
    X = draw(seed, 2, 5, 12)
    for position in ("rotary", "alibi"):
        wanted = attention(be, X, position=position)(X)
        model = attention(be, X, position=position, window=5 + beyond, num_sinks=sinks)
        np.testing.assert_array_equal(model(X), wanted)
        narrow = attention(be, X, position=position, window=4)(X)
        np.testing.assert_allclose(narrow[:, :4], wanted[:, :4], rtol=1e-12)
        assert np.abs(narrow[:, 4] - wanted[:, 4]).max() > 1e-3


@pytest.mark.parametrize("position", ["rotary", "alibi"])
def test_where_a_text_starts_does_not_matter(be, position):
    """Relative positions: with a window, the same words give the same outputs later."""
    X = np.tile(draw(0, 1, 4, 12), (1, 3, 1))
    output = attention(be, X, position=position, window=3)(X)
    np.testing.assert_allclose(output[:, 8:], output[:, 4:8], rtol=1e-10, atol=1e-11)
    whole = attention(be, X, position=position)(X)
    assert np.abs(whole[:, 8:] - whole[:, 4:8]).max() > 1e-3


def test_no_step_sees_a_later_token(be):
    X, changed = tokens(), tokens()
    changed[:, 5] = (changed[:, 5] + 1) % 11
    for options in OPTIONS.values():
        model = gpt(be, **options)
        before, after = model(X), model(changed)
        np.testing.assert_array_equal(after[:, :5], before[:, :5])
        assert np.abs(after[:, 5] - before[:, 5]).max() > 1e-4


def test_a_tied_output_layer_is_the_embedding(be):
    model, X = gpt(be), tokens()
    assert "dense.weight" not in model.shapes()
    free = gpt(be, tie_weights=False)
    p = model.parameters()
    free.load_parameters(p | {"dense.weight": p["embedding.weight"]})
    np.testing.assert_allclose(free(X), model(X), rtol=1e-12, atol=1e-13)
    assert gpt(be, **OPTIONS["GPT-2"]).shapes()["pos_embedding.weight"] == (64, 12)


def step_by_step(model, X, cuts, reserve):
    """Logits of X fed in pieces that end at the cuts, and the last state."""
    state, found = model.call("init_state", len(X)), []
    for start, end in zip([0, *cuts], [*cuts, X.shape[1]], strict=True):
        if reserve:
            state = model.call("reserve", state, end - start, 2)
        logits, state = model(X[:, start:end], state)
        found.append(logits)
    return np.concatenate(found, axis=1), state


# Each with room and without; in the quick tests with the one or the other by turns.
PIECES = [
    pytest.param(name, reserve, marks=[pytest.mark.slow] * (i % 2 == reserve))
    for i, name in enumerate(OPTIONS)
    for reserve in (False, True)
]


@pytest.mark.parametrize(("name", "reserve"), PIECES)
@given(seed=st.integers(0, 999), cuts=st.sets(st.integers(1, 11), min_size=2))
@example(seed=0, cuts=range(1, 12))
@example(seed=1, cuts=range(5, 12))  # a prompt, longer than the window, and tokens
@settings(max_examples=3)
def test_decoding_in_pieces_equals_the_whole(be, name, reserve, seed, cuts):
    """Also beyond the window, and when the cache grows: 12 tokens, windows of up to 4."""
    model, X = gpt(be, **OPTIONS[name]), tokens(seed, num_steps=12)
    found, _ = step_by_step(model, X, sorted(cuts), reserve)
    np.testing.assert_allclose(found, model(X), rtol=1e-10, atol=1e-11)


def test_decoding_in_float32_equals_the_whole_to_rounding(be):
    module = be.api.GPT(**SIZES, num_blks=2, window=4, num_sinks=2)
    model, X = be.model(module, tokens()), tokens(3, num_steps=60)
    whole = model(X)
    found, _ = step_by_step(model, X, list(range(1, 60)), True)
    assert np.abs(found - whole).max() <= 64 * 2.0**-24 * np.abs(whole).max()


@pytest.mark.parametrize("reserve", [False, True])
def test_a_cache_holds_the_grouped_heads_and_no_more_than_the_window(be, reserve):
    X = tokens(num_steps=40)
    for window, num_sinks in ((4, 0), (4, 2)):
        model = gpt(be, window=window, num_sinks=num_sinks)
        _, (caches, position) = step_by_step(model, X, list(range(1, 40)), reserve)
        assert int(position) == 40 and len(caches) == 2
        for keys, values in caches:
            for x in (keys, values):  # (batch, key heads, positions, size of a head)
                assert x.shape[:2] == (2, 2) and x.shape[3] == 2
                assert x.shape[2] <= num_sinks + window
    _, (caches, _) = step_by_step(gpt(be), X, [30], reserve=False)
    assert caches[0][0].shape == (2, 2, 40, 2)


def test_sinks_are_seen_for_ever(be):
    X, changed = tokens(num_steps=12), tokens(num_steps=12)
    changed[:, 0] = (changed[:, 0] + 1) % 11
    for num_sinks in (0, 1):
        model = gpt(be, window=2, num_sinks=num_sinks)
        last = [step_by_step(model, x, list(range(1, 12)), True)[0][:, -1] for x in (X, changed)]
        assert (np.abs(last[0] - last[1]).max() > 1e-6) == bool(num_sinks)


@pytest.mark.parametrize("name", OPTIONS)
def test_a_state_may_be_continued_twice_and_its_rows_taken(be, name):
    model, X = gpt(be, **OPTIONS[name]), tokens(5, batch=3)
    state = model(X[:, :6], model.call("init_state", 3))[1]
    first = model(X[:, 6:], state)[0]
    model(X[:, 5:8], state)
    np.testing.assert_array_equal(model(X[:, 6:], state)[0], first)
    rows = np.array([2, 0, 2])
    selected = model.call("take_rows", state, rows)
    np.testing.assert_allclose(model(X[rows, 6:], selected)[0], first[rows], rtol=1e-12)


def test_weights_are_kept_per_block_and_head(be):
    model, X = gpt(be), tokens()
    model(X)
    assert model.attention_weights.shape == (2, 12, 9, 9)
    np.testing.assert_allclose(model.attention_weights.sum(-1), 1, rtol=1e-12)
    state = model(X, model.call("init_state", 2))[1]
    model(X[:, :1], state)
    assert model.attention_weights.shape == (2, 12, 1, 10)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "ALiBi, sinks", "Mixtral"])
def test_gradients_equal_the_references(be, name):
    """In training, with dropout: the same layers ask for masks of the same shapes."""
    sizes = dict(vocab_size=5, num_hiddens=4, ffn_num_hiddens=3, num_heads=2, num_kv_heads=1)
    X, cotangent = np.array([[1, 4, 2], [0, 3, 3]]), draw(0, 2, 3, 5)
    found = []
    for column in (be, d2l_ext.backend("reference")):
        options = sizes | dict(num_blks=1, max_len=4, dropout=0.2) | OPTIONS[name]
        model = ready(column, column.api.GPT(**options), X)
        assert set(model.dropout_layers(X)) == {
            "dropout",
            "blks.block0.attention.dropout",
            "blks.block0.dropout1",
            "blks.block0.dropout2",
        }
        found.append((model.dropout_layers(X), *model.vjp((X,), cotangent, training=True)))
    (layers, output, gradients, _), (wanted_layers, wanted, by_name, _) = found
    assert layers == wanted_layers
    np.testing.assert_allclose(output, wanted, rtol=1e-11, atol=1e-12)
    assert set(gradients) == set(by_name)
    for key, gradient in by_name.items():
        np.testing.assert_allclose(gradients[key], gradient, rtol=1e-9, atol=1e-11, err_msg=key)


@pytest.mark.parametrize("name", ["Llama", "GPT-2", "Mixtral"])
def test_it_learns(be, name):
    """A cycle of tokens, of which the next is always known."""
    if be.name == "reference":
        pytest.skip("the reference does not train here")
    X = np.arange(40).reshape(4, 10) % 7
    options = SIZES | dict(num_blks=1, tie_weights=False, max_len=16)
    model = be.model(be.api.GPT(**(options | OPTIONS[name] | dict(tie_weights=False))), X[:, :-1])
    trainer = be.trainer(model, lr=0.01, max_norm=1.0)
    losses = [trainer.step((X[:, :-1], X[:, 1:])) for _ in range(60)]
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(num_heads=5), "num_hiddens: got 12, must be a positive multiple of 5"),
        (dict(num_kv_heads=4), "num_heads: got 6, must be a positive multiple of 4"),
        (dict(position="sinusoidal"), "position: got 'sinusoidal', must be one of 'rotary', 'al"),
        (dict(norm="batch"), "norm: got 'batch', must be one of 'rms', 'layer'"),
        (dict(activation="tanh"), "activation: got 'tanh', must be one of 'swiglu', 'geglu'"),
        (dict(window=0), "window: got 0, must be positive"),
        (dict(num_sinks=-1), "num_sinks: got -1, must not be negative"),
    ],
)
def test_what_cannot_be_is_the_same_error_everywhere(be, options, message):
    with pytest.raises(ValueError, match=message):
        be.model(be.api.GPT(**(SIZES | dict(num_blks=1) | options)), tokens())


def test_inputs_that_do_not_fit_are_the_same_error_everywhere(be):
    model = gpt(be)
    with pytest.raises(ValueError, match="X: got token 11, must be between 0 and 10"):
        model(np.array([[11]]))
    with pytest.raises(ValueError, match="X: got batch size 3, must be that of the state, 2"):
        model(tokens(batch=3), model.call("init_state", 2))
    learned = gpt(be, position="learned", max_len=9)
    state = learned(tokens(), learned.call("init_state", 2))[1]
    with pytest.raises(ValueError, match="X: got 1 steps from position 9, must lie between 0 and"):
        learned(tokens(num_steps=1), state)


@pytest.mark.parametrize("options", list(OPTIONS.values()), ids=list(OPTIONS))
def test_fused_kernel_equals_the_explicit_version(options):
    torch = pytest.importorskip("torch")
    model, X = gpt(d2l_ext.backend("torch"), **options), torch.from_numpy(tokens())
    found = []
    for keep in (True, False):
        model.prepare(False, None, keep_weights=keep)
        output = model.module(X)
        gradients = torch.autograd.grad((output**2).sum(), list(model.module.parameters()))
        found.append([output, *gradients])
    assert model.module.attention_weights == [None, None]
    # A key's bias has a gradient of zero: rounding is judged at the size of the largest one.
    scale = max(gradient.abs().max() for gradient in found[0])
    for explicit, fused in zip(*found, strict=True):
        assert (fused - explicit).abs().max() <= 64 * 2.0**-52 * scale
