"""Scoring functions and attention pooling, in every column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SCORES = {
    "dot": lambda api: api.DotProductAttention(0, scaled=False),
    "scaled dot": lambda api: api.DotProductAttention(0),
    "cosine": lambda api: api.CosineAttention(0),
    "bilinear": lambda api: api.BilinearAttention(0),
    "gaussian": lambda api: api.GaussianAttention(0, width=0.7),
    "additive": lambda api: api.AdditiveAttention(6, 0),
}
SAME_SIZE = {"dot", "scaled dot", "cosine", "gaussian"}


def draw(seed, batch=2, queries=3, keys=5, size=4, value_size=7):
    rng = np.random.default_rng(seed)
    return (
        rng.standard_normal((batch, queries, size)),
        rng.standard_normal((batch, keys, size)),
        rng.standard_normal((batch, keys, value_size)),
    )


@pytest.fixture(scope="module", params=SCORES)
def model(request, any_backend):
    """A float64 model of each scoring function in each column."""
    return any_backend.model(SCORES[request.param](any_backend.api), *draw(0), dtype="float64")


@pytest.mark.parametrize("name", ["scaled dot", "additive"])
def test_d2l_toy_example(any_backend, name):
    """Equal keys: each query gets the mean of the values that are valid (D2L, section 11.3)."""
    queries = np.random.default_rng(0).standard_normal((2, 1, 2))
    keys = np.ones((2, 10, 2))
    values = np.repeat(np.arange(40.0).reshape(1, 10, 4), 2, axis=0)
    inputs = (queries, keys, values, np.array([2, 6]))
    model = any_backend.model(SCORES[name](any_backend.api), *inputs)
    np.testing.assert_allclose(model(*inputs), [[[2, 3, 4, 5]], [[10, 11, 12, 13]]], rtol=1e-6)
    wanted = np.zeros((2, 1, 10))
    wanted[0, :, :2], wanted[1, :, :6] = 1 / 2, 1 / 6
    np.testing.assert_allclose(model.attention_weights, wanted, rtol=1e-6)


@given(seed=st.integers(0, 999))
@settings(max_examples=5)
def test_weights_average_the_values(model, seed):
    queries, keys, values = draw(seed)
    output = model(queries, keys, values)
    weights = model.attention_weights
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-14)
    np.testing.assert_allclose(output, weights @ values, rtol=1e-12, atol=1e-14)


@given(seed=st.integers(0, 999))
@settings(max_examples=5)
def test_permuting_the_pairs_permutes_the_weights(model, seed):
    queries, keys, values = draw(seed)
    order = np.random.default_rng(seed).permutation(keys.shape[1])
    output, weights = model(queries, keys, values), model.attention_weights
    again = model(queries, keys[:, order], values[:, order])
    np.testing.assert_allclose(again, output, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(model.attention_weights, weights[:, :, order], rtol=1e-12)


@given(seed=st.integers(0, 999), junk=st.sampled_from([0.0, 1e3, -1e30]))
@settings(max_examples=5)
def test_padding_never_matters(model, seed, junk):
    queries, keys, values = draw(seed)
    lens = np.array([2, 4])
    output, weights = model(queries, keys, values, lens), model.attention_weights
    for b, n in enumerate(lens):
        keys[b, n:], values[b, n:] = junk, junk
    np.testing.assert_array_equal(model(queries, keys, values, lens), output)
    np.testing.assert_array_equal(model.attention_weights, weights)
    mask = np.arange(5) < lens[:, None, None]
    np.testing.assert_array_equal(model(queries, keys, values, None, mask), output)


def test_a_query_with_no_key_gets_zero_and_no_gradient(model):
    queries, keys, values = draw(3)
    lens = np.array([0, 5])
    output, _, gradients = model.vjp((queries, keys, values, lens), np.ones((2, 3, 7)))
    assert (output[0] == 0).all()
    for gradient in gradients[:3]:
        assert np.isfinite(gradient).all() and (gradient[0] == 0).all()
    assert gradients[3] is None


def formulas(name, q, k, parameters):
    """The score of one query and one key, from the book's formula."""
    match name:
        case "dot":
            return q @ k
        case "scaled dot":
            return q @ k / 2  # sqrt(4)
        case "cosine":
            return q @ k / np.linalg.norm(q) / np.linalg.norm(k)
        case "bilinear":
            return q @ parameters["W"] @ k
        case "gaussian":
            return -((q - k) @ (q - k)) / (2 * 0.7**2)
        case "additive":
            hidden = np.tanh(parameters["W_q.weight"] @ q + parameters["W_k.weight"] @ k)
            return parameters["w_v.weight"][0] @ hidden


@pytest.mark.parametrize("name", SCORES)
def test_the_score_is_the_books_formula(any_backend, name):
    queries, keys, values = draw(5)
    model = any_backend.model(SCORES[name](any_backend.api), queries, keys, values, dtype="float64")
    model(queries, keys, values)
    scores = [
        [[formulas(name, q, k, model.parameters()) for k in keys[b]] for q in queries[b]]
        for b in range(2)
    ]
    exps = np.exp(np.array(scores))
    wanted = exps / exps.sum(-1, keepdims=True)
    np.testing.assert_allclose(model.attention_weights, wanted, rtol=1e-12)


def test_cosine_of_a_zero_vector_is_zero(any_backend):
    queries, keys, values = draw(6)
    keys[:, 2], queries[:, 1] = 0, 0
    model = any_backend.model(any_backend.api.CosineAttention(0), queries, keys, values)
    model(queries, keys, values)
    weights = model.attention_weights
    np.testing.assert_allclose(weights[:, 1], 1 / 5, rtol=1e-6)
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("leading", [(), (2,), (2, 3)])
def test_attention_takes_any_number_of_leading_axes(any_backend, leading):
    rng = np.random.default_rng(1)
    shapes = ((4, 5), (6, 5), (6, 2))
    query, key, value = (rng.standard_normal((*leading, *shape)) for shape in shapes)
    mask = rng.random((*leading, 4, 6)) < 0.7
    mask[..., 0] = True
    be = any_backend
    output, weights = be.numpy(
        be.api.attention(*be.array((query, key, value)), mask=be.array(mask))
    )
    scores = np.einsum("...qd,...kd->...qk", query, key) / np.sqrt(5)
    exps = np.where(mask, np.exp(scores), 0)
    wanted = exps / exps.sum(-1, keepdims=True)
    np.testing.assert_allclose(weights, wanted, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(output, wanted @ value, rtol=1e-12, atol=1e-14)


def test_attention_equals_torchs_own(any_backend):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(2)
    query, key, value = (rng.standard_normal((2, 3, n, d)) for n, d in ((4, 5), (6, 5), (6, 7)))
    mask = rng.random((2, 3, 4, 6)) < 0.5
    mask[..., 0] = True
    be = any_backend
    output, _ = be.api.attention(*be.array((query, key, value)), mask=be.array(mask))
    wanted = torch.nn.functional.scaled_dot_product_attention(
        *map(torch.from_numpy, (query, key, value)), attn_mask=torch.from_numpy(mask)
    )
    np.testing.assert_allclose(be.numpy(output), wanted.numpy(), rtol=1e-12, atol=1e-14)


def test_attention_applies_dropout_to_the_weights(any_backend):
    be = any_backend
    query, key, value = be.array(draw(8))
    plain, weights = be.api.attention(query, key, value)
    doubled, same = be.api.attention(query, key, value, dropout=lambda w: w * 2)
    np.testing.assert_allclose(be.numpy(doubled), 2 * be.numpy(plain), rtol=1e-14)
    np.testing.assert_array_equal(be.numpy(same), be.numpy(weights))


BAD = [
    ((2, 3), (2, 5, 4), (2, 5, 7), r"queries: got shape \(2, 3\), must be \(batch, num_queries"),
    ((2, 3, 4), (3, 5, 4), (3, 5, 7), "keys: got batch size 3, must be that of queries, 2"),
    ((2, 3, 4), (2, 5, 4), (2, 6, 7), r"values: got shape \(2, 6, 7\), must start with that of"),
    ((2, 3, 4), (2, 5, 3), (2, 5, 7), "keys: got vectors of size 3, must be that of queries, 4"),
]


@pytest.mark.parametrize(("queries", "keys", "values", "message"), BAD)
def test_bad_shapes_are_the_same_error_everywhere(any_backend, queries, keys, values, message):
    be, inputs = any_backend, [np.zeros(shape) for shape in (queries, keys, values)]
    model = be.model(be.api.DotProductAttention(0), *draw(0))
    with pytest.raises(ValueError, match=message):
        model(*inputs)
    with pytest.raises(ValueError, match=message):
        model.vjp(inputs, np.zeros((2, 3, 7)))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda api: api.DotProductAttention(1.0), "dropout: got 1.0, must be at least 0 and less"),
        (lambda api: api.AdditiveAttention(4, -0.1), "dropout: got -0.1"),
        (lambda api: api.GaussianAttention(0, width=0), "width: got 0, must be positive"),
    ],
)
def test_bad_options_are_the_same_error_everywhere(any_backend, build, message):
    with pytest.raises(ValueError, match=message):
        build(any_backend.api)
