"""Rotary positions and linear biases in every column."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

LAYOUTS = ["halves", "pairs"]


def rotate(be, X, positions, *options):
    X, positions = be.array((X, np.asarray(positions)))
    return be.numpy(be.api.rotate(X, positions, *options))


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def by_hand(X, positions, base, layout):
    """Each pair of each vector as a complex number, turned."""
    size, wanted = X.shape[-1], np.empty_like(X)
    for i, position in enumerate(positions):
        for j in range(size // 2):
            a, b = (2 * j, 2 * j + 1) if layout == "pairs" else (j, j + size // 2)
            angle = position * base ** (-2 * j / size)
            turned = (X[..., i, a] + 1j * X[..., i, b]) * complex(math.cos(angle), math.sin(angle))
            wanted[..., i, a], wanted[..., i, b] = turned.real, turned.imag
    return wanted


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("base", [10000.0, 500.0])
def test_rotary_is_the_formula(be, layout, base):
    X, positions = draw(0, 2, 3, 4, 6), [0, 1, 7, 30]
    wanted = by_hand(X, positions, base, layout)
    found = rotate(be, X, positions, base, layout)
    np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-13)


def test_the_defaults_are_llamas(be):
    X = draw(1, 2, 3, 8)
    wanted = by_hand(X, [4, 5, 6], 10000.0, "halves")
    np.testing.assert_allclose(rotate(be, X, [4, 5, 6]), wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_position_100000_is_exact_in_float32(be, layout):
    """Angles computed in float32 would be off by 4e-3 there."""
    X = np.zeros((3, 16), np.float32)
    X[:, slice(0, 8) if layout == "halves" else slice(0, 16, 2)] = 1  # (1, 0) to (cos, sin)
    positions = [99_999, 100_000, 131_071]
    found = rotate(be, X, positions, 10000.0, layout)
    assert found.dtype == np.float32
    wanted = by_hand(X.astype(np.float64), positions, 10000.0, layout)
    assert np.abs(found - wanted).max() <= 2.0**-24


@given(seed=st.integers(0, 999), shift=st.integers(0, 3000), distance=st.integers(0, 50))
@settings(max_examples=10)
def test_scores_depend_on_distances_only(be, seed, shift, distance):
    query, key = draw(seed, 2, 1, 8)
    for layout in LAYOUTS:

        def score(i, j, layout=layout):
            turned = (rotate(be, x, [p], 1e4, layout) for x, p in ((query, i), (key, j)))
            return np.vdot(*turned)

        near = score(distance, 0)
        np.testing.assert_allclose(score(distance + shift, shift), near, rtol=1e-9, atol=1e-10)
    if distance % 2:  # the first pair alone would not see a whole turn
        assert abs(near - np.vdot(query, key)) > 1e-9


@given(seed=st.integers(0, 999), size=st.sampled_from([2, 6, 10]))
@settings(max_examples=5)
def test_the_permutation_leads_from_one_layout_to_the_other(be, seed, size):
    X, order = draw(seed, 3, 4, size), be.numpy(be.api.permutation(size))
    assert order.dtype.kind == "i" and sorted(order) == list(range(size))
    halves = rotate(be, X[..., order], np.arange(4), 1e4, "halves")
    pairs = rotate(be, X, np.arange(4), 1e4, "pairs")
    np.testing.assert_allclose(halves, pairs[..., order], rtol=1e-13, atol=1e-14)


def test_the_permutation_of_weights_gives_the_same_scores(be):
    """Two heads of size 4: rows are reordered within each head."""
    X, W_q, W_k = draw(0, 5, 3), draw(1, 8, 3), draw(2, 8, 3)
    order = be.numpy(be.api.permutation(4))

    def scores(W_q, W_k, layout):
        heads = ((X @ W.T).reshape(5, 2, 4).swapaxes(0, 1) for W in (W_q, W_k))
        q, k = (rotate(be, head, np.arange(5), 1e4, layout) for head in heads)
        return q @ k.swapaxes(1, 2)

    reordered = (W.reshape(2, 4, 3)[:, order].reshape(8, 3) for W in (W_q, W_k))
    np.testing.assert_allclose(scores(*reordered, "halves"), scores(W_q, W_k, "pairs"), rtol=1e-12)


def test_positions_may_differ_within_the_batch(be):
    X = draw(0, 2, 3, 4, 6)
    positions = np.array([[[0, 1, 2, 3]], [[5, 6, 7, 9]]])  # (batch, 1, num_steps)
    found = rotate(be, X, positions)
    for row in range(2):
        np.testing.assert_array_equal(found[row], rotate(be, X[row], positions[row, 0]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_gradient_turns_back(be, layout):
    X, cotangent, positions = draw(0, 2, 4, 6), draw(1, 2, 4, 6), np.arange(3, 7)

    def turned(x):
        return be.api.rotate(x, be.array(positions), 1e4, layout)

    _, (by_x,) = be.vjp(turned, (X,), cotangent)
    wanted = by_hand(cotangent, -positions, 1e4, layout)
    np.testing.assert_allclose(by_x, wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("X", "positions", "options", "message"),
    [
        (np.zeros((4, 5)), np.arange(4), {}, "size: got 5, must be a positive multiple of 2"),
        (np.zeros((4, 6)), np.arange(3), {}, r"positions: got shape \(3,\), must broadcast to"),
        (np.zeros((4, 6)), np.zeros(4), {}, "positions: got dtype float64, must be an integer"),
        (np.zeros((4, 6), int), np.arange(4), {}, "X: got dtype int64, must be a floating dtype"),
        (np.zeros((4, 6)), np.arange(4), {"layout": "thirds"}, "layout: got 'thirds', must be one"),
    ],
)
def test_what_does_not_fit_is_the_same_error_everywhere(be, X, positions, options, message):
    with pytest.raises(ValueError, match=message):
        be.api.rotate(*be.array((X, positions)), **options)


def test_alibi_by_hand(be):
    bias = be.numpy(be.api.alibi(4, 3, 3))
    assert bias.shape == (4, 3, 3)
    for slope, head in zip((1 / 4, 1 / 16, 1 / 64, 1 / 256), bias, strict=True):
        wanted = -slope * np.array([[0, 0, 0], [1, 0, 0], [2, 1, 0]])
        np.testing.assert_array_equal(np.tril(head), wanted)


def test_alibi_of_heads_that_are_no_power_of_two(be):
    """Six heads: the slopes of four, then the first and third of eight (the authors' rule)."""
    slopes = -be.numpy(be.api.alibi(6, 1, 2))[:, 0, 0]
    wanted = [2.0**-h for h in (2, 4, 6, 8, 1, 3)]
    np.testing.assert_allclose(slopes, wanted, rtol=1e-7)
    twelve = -be.numpy(be.api.alibi(12, 1, 2))[:, 0, 0]
    wanted = [2.0**-h for h in (1, 2, 3, 4, 5, 6, 7, 8, 0.5, 1.5, 2.5, 3.5)]
    np.testing.assert_allclose(twelve, wanted, rtol=1e-7)


def test_alibis_queries_are_the_last_of_the_keys(be):
    whole, last = (be.numpy(be.api.alibi(3, n, 7)) for n in (7, 2))
    np.testing.assert_array_equal(last, whole[:, 5:])
