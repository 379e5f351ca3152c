"""Positional encodings in every column."""

import math

import numpy as np
import pytest


def test_sinusoids_are_the_formula(any_backend):
    model = any_backend.model(
        any_backend.api.PositionalEncoding(6, 0), np.zeros((1, 9, 6)), dtype="float64"
    )
    P = model(np.zeros((1, 9, 6)))[0]
    for i in range(9):
        for j in range(3):
            angle = i / 10000 ** (2 * j / 6)
            np.testing.assert_allclose(P[i, 2 * j], math.sin(angle), rtol=1e-14, atol=1e-15)
            np.testing.assert_allclose(P[i, 2 * j + 1], math.cos(angle), rtol=1e-14, atol=1e-15)


def test_position_10000_is_exact_in_float32(any_backend):
    """Angles computed in float32 would be off by 5e-4 there."""
    X = np.zeros((1, 2, 8))
    module = any_backend.api.PositionalEncoding(8, 0, max_len=10_002)
    P = any_backend.model(module, X)(X, 10_000)[0]
    angles = np.array([[i / 10000 ** (2 * j / 8) for j in range(4)] for i in (10_000, 10_001)])
    wanted = np.stack((np.sin(angles), np.cos(angles)), -1).reshape(2, 8)
    assert P.dtype == np.float32
    np.testing.assert_array_equal(P, wanted.astype(np.float32))


def test_an_odd_size_ends_with_a_sine(any_backend):
    X = np.zeros((1, 3, 5))
    P = any_backend.model(any_backend.api.PositionalEncoding(5, 0), X, dtype="float64")(X)[0]
    np.testing.assert_allclose(P[:, 4], np.sin(np.arange(3) / 10000 ** (4 / 5)), rtol=1e-14)


@pytest.mark.parametrize("name", ["PositionalEncoding", "LearnedPositionalEncoding"])
def test_an_offset_continues_the_sequence(any_backend, name):
    X = np.random.default_rng(0).standard_normal((2, 6, 4))
    model = any_backend.model(getattr(any_backend.api, name)(4, 0, max_len=7), X, dtype="float64")
    whole = model(X)
    np.testing.assert_array_equal(model(X[:, 2:], 2), whole[:, 2:])
    assert np.abs(model(X[:, 2:]) - whole[:, 2:]).max() > 0.1


def test_learned_positions_are_rows_of_a_table(any_backend):
    X = np.random.default_rng(0).standard_normal((2, 3, 4))
    module = any_backend.api.LearnedPositionalEncoding(4, 0, max_len=5)
    model = any_backend.model(module, X, dtype="float64")
    table = model.parameters()["embedding.weight"]
    assert table.shape == (5, 4)
    np.testing.assert_array_equal(model(X), X + table[:3])
    _, gradients, _ = model.vjp((X,), np.ones((2, 3, 4)))
    np.testing.assert_array_equal(gradients["embedding.weight"], [[2] * 4] * 3 + [[0] * 4] * 2)


@pytest.mark.parametrize("name", ["PositionalEncoding", "LearnedPositionalEncoding"])
def test_positions_beyond_the_table_are_the_same_error_everywhere(any_backend, name):
    X = np.zeros((1, 3, 4))
    model = any_backend.model(getattr(any_backend.api, name)(4, 0, max_len=5), X)
    with pytest.raises(ValueError, match="X: got 3 steps from position 3, must lie between 0 and"):
        model(X, 3)
    with pytest.raises(ValueError, match=r"X: got shape \(1, 3, 6\), must have size 4 on axis 2"):
        model(np.zeros((1, 3, 6)))
