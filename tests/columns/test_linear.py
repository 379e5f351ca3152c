"""Linear attention in every column: three forms of one sum."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import d2l_ext

FORMS = ["parallel", "recurrent", "chunked"]


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def build(be, form, size=6, num_heads=3, dtype="float64", **options):
    module = be.api.LinearAttention(size, num_heads, form, **options)
    model = be.model(module, draw(0, 1, 2, size), dtype=dtype)
    rng = np.random.default_rng(1)
    shapes = sorted(model.shapes().items())
    model.load_parameters({k: rng.standard_normal(shape) for k, shape in shapes})
    return model


def by_hand(X, p, num_heads):
    """Each query's weights over the keys up to itself, normalised."""
    q, k, v = (X @ p[f"W_{name}.weight"].T for name in "qkv")
    phi = lambda x: np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))  # noqa: E731
    output, d = np.zeros_like(X), X.shape[2] // num_heads
    for b, i, h in np.ndindex(*X.shape[:2], num_heads):
        own = slice(h * d, h * d + d)
        weights = phi(k[b, : i + 1, own]) @ phi(q[b, i, own])
        output[b, i, own] = weights / weights.sum() @ v[b, : i + 1, own]
    return output @ p["W_o.weight"].T


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_formula(be, form):
    X, model = draw(2, 2, 7, 6), build(be, form, chunk_size=3)
    wanted = by_hand(X, model.parameters(), 3)
    np.testing.assert_allclose(model(X), wanted, rtol=1e-11, atol=1e-12)


@given(seed=st.integers(0, 999), num_steps=st.integers(1, 9), chunk_size=st.integers(1, 10))
@settings(max_examples=6)
def test_all_forms_are_equal(be, seed, num_steps, chunk_size):
    X, cotangent = draw(seed, 1, num_steps, 4), draw(seed + 1, 1, num_steps, 4)
    found = [
        build(be, form, 4, 2, chunk_size=chunk_size, use_bias=True).vjp((X,), cotangent)
        for form in FORMS
    ]
    for output, gradients, (by_x,) in found[1:]:
        np.testing.assert_allclose(output, found[0][0], rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(by_x, found[0][2][0], rtol=1e-9, atol=1e-10)
        for key, gradient in gradients.items():
            np.testing.assert_allclose(gradient, found[0][1][key], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
@given(seed=st.integers(0, 999), cuts=st.sets(st.integers(1, 8)))
@settings(max_examples=3)
def test_in_pieces_equals_the_whole_and_the_state_does_not_grow(be, form, seed, cuts):
    model, X = build(be, form, chunk_size=2), draw(seed, 2, 9, 6)
    state, found = model.call("init_state", 2), []
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), 9], strict=True):
        output, state = model(X[:, start:end], state)
        found.append(output)
        assert state.shape == (2, 3, 2, 3)
    np.testing.assert_allclose(np.concatenate(found, 1), model(X), rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_a_state_of_half_precision_is_float32_from_the_start(be, form):
    """Or what carries it through a loop would be given one dtype and hand back another."""
    if "float16" not in be.dtypes:
        pytest.skip(f"{be.name} has no float16")
    model, X = build(be, form, dtype="float16"), draw(2, 2, 3, 6)
    before = model.call("init_state", 2)
    output, after = model(X, before)
    assert (output.dtype, before.dtype, after.dtype) == (np.float16, np.float32, np.float32)


@pytest.mark.parametrize("form", FORMS)
def test_no_step_sees_a_later_one(be, form):
    model, X = build(be, form, chunk_size=4), draw(3, 2, 9, 6)
    before = model(X)
    X[:, 5] += 1
    after = model(X)
    np.testing.assert_array_equal(after[:, :5], before[:, :5])
    assert (np.abs(after[:, 5:] - before[:, 5:]).max(axis=(0, 2)) > 1e-6).all()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_equal_the_references(be, form):
    X, cotangent = draw(5, 1, 4, 4), draw(6, 1, 4, 4)
    found = [
        build(b, form, 4, 2, chunk_size=3).vjp((X,), cotangent)
        for b in (be, d2l_ext.backend("reference"))
    ]
    (output, gradients, (by_x,)), (wanted, by_name, (wanted_by_x,)) = found
    np.testing.assert_allclose(output, wanted, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(by_x, wanted_by_x, rtol=1e-9, atol=1e-11)
    for key, gradient in by_name.items():
        np.testing.assert_allclose(gradients[key], gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("form", FORMS)
def test_large_inputs_stay_finite(be, form):
    """Features below the smallest number are zero: nothing to attend to, and no NaN."""
    model, X = build(be, form), 1e4 * draw(7, 1, 5, 6)
    output, gradients, (by_x,) = model.vjp((X,), draw(8, 1, 5, 6))
    assert all(np.isfinite(x).all() for x in (output, by_x, *gradients.values()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(form="serial"), "form: got 'serial', must be one of 'parallel', 'recurrent'"),
        (dict(form="chunked", chunk_size=0), "chunk_size: got 0, must be positive"),
        (dict(form="parallel", num_heads=4), "num_hiddens: got 6, must be a positive multiple"),
    ],
)
def test_what_cannot_be_is_the_same_error_everywhere(be, options, message):
    with pytest.raises(ValueError, match=message):
        build(be, **options)
