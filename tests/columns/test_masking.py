"""Masks and the masked softmax, in every column."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SHAPES = [(1, 1, 1), (2, 3, 5), (3, 1, 7), (2, 4, 1)]


def run(be, name, *args, **kwargs):
    """Call a function of the column with NumPy arrays."""
    args = [be.array(a) if isinstance(a, np.ndarray) else a for a in args]
    kwargs = {k: be.array(v) if isinstance(v, np.ndarray) else v for k, v in kwargs.items()}
    return be.numpy(getattr(be.api, name)(*args, **kwargs))


@st.composite
def masked_scores(draw):
    """Scores of any magnitude, with valid lengths (none, 1-D or 2-D) and perhaps a mask."""
    batch, queries, keys = draw(st.sampled_from(SHAPES))
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    scale = draw(st.sampled_from([1e-30, 1.0, 1e6, 1e30, 1e37]))
    X = scale * rng.standard_normal((batch, queries, keys))
    lens_shape = draw(st.sampled_from([None, (batch,), (batch, queries)]))
    lens = None if lens_shape is None else rng.integers(0, keys + 1, lens_shape)
    mask_shape = draw(st.sampled_from([None, (keys,), (queries, keys), (batch, 1, keys)]))
    mask = None if mask_shape is None else rng.random(mask_shape) < 0.6
    return X, lens, mask


def allowed(X, lens, mask):
    """Which entries may be attended to, straight from the definition."""
    keep = np.ones(X.shape, bool) if mask is None else np.broadcast_to(mask, X.shape).copy()
    if lens is not None:
        for b, q, k in np.ndindex(*X.shape):
            keep[b, q, k] &= k < (lens[b] if lens.ndim == 1 else lens[b, q])
    return keep


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_single_key_has_all_the_weight_and_its_score_no_gradient(any_backend, dtype):
    """To the bit: Adam makes a whole step of a gradient that is 1e-7 for 0."""
    X = np.random.default_rng(1).standard_normal((50, 1, 7)).astype(dtype)
    lens = any_backend.array(np.ones(len(X), np.int64))
    weights, (gradient,) = any_backend.vjp(
        lambda X: any_backend.api.masked_softmax(X, lens), [X], np.cos(X)
    )
    np.testing.assert_array_equal(weights, np.arange(7) == 0 * X)
    assert not gradient.any()


@given(case=masked_scores(), dtype=st.sampled_from(["float32", "float64"]))
@settings(max_examples=60)
def test_masked_softmax_is_a_distribution_over_the_allowed_keys(any_backend, case, dtype):
    X, lens, mask = case
    X = X.astype(dtype)
    before = X.copy()
    weights = run(any_backend, "masked_softmax", X, lens, mask)
    keep = allowed(X, lens, mask)
    assert weights.dtype == dtype
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (weights[~keep] == 0).all()
    np.testing.assert_allclose(weights.sum(-1), keep.any(-1), rtol=8 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(X, before)
    for b, q in np.ndindex(*X.shape[:2]):  # each row alone, without its masked keys
        row = X[b, q, keep[b, q]].astype(np.float64)
        if len(row):
            exps = np.exp(row - row.max())
            np.testing.assert_allclose(
                weights[b, q, keep[b, q]],
                exps / exps.sum(),
                rtol=64 * np.finfo(dtype).eps * max(1, np.abs(row - row.max()).max()),
                atol=np.finfo(dtype).eps,
            )


def test_empty_rows_have_zero_weights_and_zero_gradient(any_backend):
    X = np.random.default_rng(0).standard_normal((2, 2, 3))
    lens = np.array([[0, 2], [3, 0]])
    cotangent = np.random.default_rng(1).standard_normal(X.shape)
    weights, (gradient, none) = any_backend.vjp(
        any_backend.api.masked_softmax, (X, lens), cotangent
    )
    assert none is None
    assert (weights[0, 0] == 0).all() and (weights[1, 1] == 0).all()
    assert (gradient[0, 0] == 0).all() and (gradient[1, 1] == 0).all()
    assert (gradient[0, 1, :2] != 0).all() and gradient[0, 1, 2] == 0


def test_masks_do_not_depend_on_scores_near_the_usual_fill(any_backend):
    """D2L fills with -1e6, so that padding wins against scores of -2e6."""
    weights = run(any_backend, "masked_softmax", np.full((1, 1, 4), -2e6), np.array([3]))
    np.testing.assert_allclose(weights, [[[1 / 3, 1 / 3, 1 / 3, 0]]], rtol=1e-15)


def test_integral_floats_are_lengths(any_backend):
    X = np.zeros((2, 1, 4))
    np.testing.assert_array_equal(
        run(any_backend, "masked_softmax", X, np.array([1.0, 4.0])),
        run(any_backend, "masked_softmax", X, np.array([1, 4])),
    )


def test_lengths_and_mask_combine_by_and(any_backend):
    X = np.zeros((1, 2, 4))
    weights = run(
        any_backend, "masked_softmax", X, np.array([[3, 4]]), np.array([True, False, True, True])
    )
    np.testing.assert_allclose(weights, [[[1 / 2, 0, 1 / 2, 0], [1 / 3, 0, 1 / 3, 1 / 3]]])


def test_causal_mask_lets_a_step_see_itself_and_the_past(any_backend):
    mask = run(any_backend, "causal_mask", 4)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, np.tril(np.ones((4, 4), bool)))


def test_padding_mask_is_true_where_there_is_a_token(any_backend):
    mask = run(any_backend, "padding_mask", np.array([[5, 2, 1], [4, 1, 1]]), 1)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, [[[True, True, False]], [[True, False, False]]])


@given(
    shape=st.sampled_from([(2, 3), (3, 4, 2), (1, 2, 2, 2)]),
    seed=st.integers(0, 99),
    dtype=st.sampled_from(["float32", "float64", "int64"]),
    value=st.sampled_from([0, -7]),
)
@settings(max_examples=15)
def test_sequence_mask_replaces_what_is_after_the_end(any_backend, shape, seed, dtype, value):
    rng = np.random.default_rng(seed)
    X = (10 * rng.standard_normal(shape)).astype(dtype)
    lens = rng.integers(0, shape[1] + 1, shape[0])
    wanted = X.copy()
    for row, n in zip(wanted, lens, strict=True):
        row[n:] = value
    masked = run(any_backend, "sequence_mask", X, lens, value=value)
    assert masked.dtype == dtype
    np.testing.assert_array_equal(masked, wanted)


def test_sequence_mask_passes_the_gradient_of_what_it_keeps(any_backend):
    """MXNet's `np.where` with a scalar sends it to the wrong branch."""
    X = np.arange(6.0).reshape(2, 3)
    _, (gradient, _) = any_backend.vjp(
        any_backend.api.sequence_mask, (X, np.array([1, 3])), np.full((2, 3), 2.0)
    )
    np.testing.assert_array_equal(gradient, [[2, 0, 0], [2, 2, 2]])


BAD = [
    (dict(valid_lens=np.array([-1, 2])), "valid_lens: got -1, must be between 0 and 4"),
    (dict(valid_lens=np.array([[1, 2, 3], [4, 5, 0]])), "valid_lens: got 5, must be between 0"),
    (dict(valid_lens=np.array([1.5, 2])), "valid_lens: got 1.5, must be a whole number"),
    (dict(valid_lens=np.array([np.nan, 2])), "valid_lens: got nan, must be a whole number"),
    (dict(valid_lens=np.array([True, False])), "valid_lens: got dtype bool, must be an integer"),
    (dict(valid_lens=np.array([1, 2, 3])), r"valid_lens: got shape \(3,\), must be \(2,\) or"),
    (dict(valid_lens=np.ones((2, 4), int)), r"valid_lens: got shape \(2, 4\), must be \(2,\) or"),
    (dict(mask=np.ones((2, 3, 4))), "mask: got dtype float64, must be bool"),
    (dict(mask=np.ones((3, 3, 4), bool)), r"mask: got shape \(3, 3, 4\), must broadcast to"),
    (dict(mask=np.ones((1, 2, 3, 4), bool)), r"mask: got shape \(1, 2, 3, 4\), must broadcast"),
]


@pytest.mark.parametrize(("bad", "message"), BAD)
def test_bad_masks_are_the_same_error_everywhere(any_backend, bad, message):
    with pytest.raises(ValueError, match=message):
        run(any_backend, "masked_softmax", np.zeros((2, 3, 4)), **bad)


def test_valid_lens_need_three_axes(any_backend):
    with pytest.raises(ValueError, match="valid_lens: need scores"):
        run(any_backend, "masked_softmax", np.zeros((2, 4)), np.array([1, 2]))


@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 40)),
    rate=st.sampled_from([0, 0.1, 0.5, 1]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30)
def test_torchs_weights_in_place_are_those_of_the_softmax(shape, rate, seed):
    """Values and gradients to the last bit, also where scores that are masked are infinite."""
    torch = pytest.importorskip("torch")
    from d2l_ext.torch import masking

    rng = np.random.default_rng(seed)
    mask = torch.from_numpy(rng.random(shape) < rate)
    scores = torch.from_numpy(rng.standard_normal(shape)).masked_fill(~mask, torch.inf)
    cotangent = torch.from_numpy(rng.standard_normal(shape))
    found = []
    for softmax in (masking.unchecked_masked_softmax, masking.weights_in_place):
        leaf = scores.clone().requires_grad_()
        given_scores = leaf * 1
        weights = softmax(given_scores, mask)
        found.append((weights, *torch.autograd.grad(weights, leaf, cotangent)))
    assert weights.data_ptr() == given_scores.data_ptr()
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
