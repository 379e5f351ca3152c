"""Mixtures of experts in every column."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import d2l_ext


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def build(be, num_experts=5, k=2, **options):
    module = be.api.MixtureOfExperts(4, 3, num_experts, k, **options)
    model = be.model(module, draw(0, 2, 3, 4), dtype="float64")
    rng = np.random.default_rng(1)
    shapes = sorted(model.shapes().items())
    model.load_parameters({k: rng.standard_normal(shape) for k, shape in shapes})
    return model


def expert(p, i, x):
    """One expert on one vector."""
    gate, up, down = (p[f"experts.expert{i}.{name}.weight"] for name in ("gate", "up", "down"))
    return down @ (gate @ x / (1 + np.exp(-gate @ x)) * (up @ x))


@pytest.mark.parametrize("k", [1, 2, 5])
def test_the_k_most_probable_experts_are_averaged(be, k):
    model, X = build(be, k=k), draw(1, 2, 3, 4)
    p, wanted = model.parameters(), np.zeros_like(X)
    for where in np.ndindex(2, 3):
        exps = np.exp(p["router.weight"] @ X[where])
        chosen = sorted(range(5), key=lambda e: -exps[e])[:k]
        for e in chosen:
            wanted[where] += exps[e] / exps[chosen].sum() * expert(p, e, X[where])
    np.testing.assert_allclose(model(X), wanted, rtol=1e-11, atol=1e-12)


def test_routing_tells_shares_numbers_and_probabilities(be):
    model, X = build(be, k=3), draw(1, 2, 3, 4)
    shares, chosen, probabilities = model.call("route", X)
    scores = X @ model.parameters()["router.weight"].T
    exps = np.exp(scores)
    np.testing.assert_allclose(probabilities, exps / exps.sum(-1, keepdims=True), rtol=1e-12)
    np.testing.assert_array_equal(chosen, np.argsort(-scores, axis=-1, kind="stable")[..., :3])
    np.testing.assert_allclose(shares.sum(-1), 1, rtol=1e-12)
    picked = np.take_along_axis(probabilities, chosen, -1)
    np.testing.assert_allclose(shares, picked / picked.sum(-1, keepdims=True), rtol=1e-12)


@given(size=st.integers(2, 40), data=st.data())
@settings(max_examples=10)
def test_of_equal_scores_the_lowest_numbers_win(be, size, data):
    """Scores of few values: small whole numbers, so that every framework computes them exactly."""
    scores = data.draw(st.lists(st.integers(-2, 2), min_size=size, max_size=size))
    k = data.draw(st.integers(1, size))
    model = be.model(be.api.MixtureOfExperts(1, 1, size, k), np.ones((1, 1)), dtype="float64")
    p = model.parameters()
    p["router.weight"] = np.array(scores, float)[:, None]
    model.load_parameters(p)
    chosen = model.call("route", np.ones((1, 1)))[1][0]
    wanted = sorted(range(size), key=lambda e: (-scores[e], e))[:k]
    np.testing.assert_array_equal(chosen, wanted)


@given(seed=st.integers(0, 999))
@settings(max_examples=5)
def test_a_permutation_of_experts_permutes_nothing_visible(be, seed):
    model, X = build(be), draw(seed, 2, 3, 4)
    order = np.random.default_rng(seed).permutation(5)
    before, p = model(X), model.parameters()
    loss = balance(be, model, X)
    permuted = p | {"router.weight": p["router.weight"][order]}
    for new, old in enumerate(order):
        for name in ("gate", "up", "down"):
            key = f"experts.expert{{}}.{name}.weight"
            permuted[key.format(new)] = p[key.format(old)]
    model.load_parameters(permuted)
    np.testing.assert_allclose(model(X), before, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(balance(be, model, X), loss, rtol=1e-12)


def test_equal_experts_are_one_network(be):
    model, X = build(be, k=3), draw(2, 2, 3, 4)
    p = model.parameters()
    p |= {k: p[f"experts.expert0.{k.split('.', 2)[2]}"] for k in p if k.startswith("experts")}
    model.load_parameters(p)
    single = be.model(be.api.FeedForward(4, 3), X, dtype="float64")
    single.load_parameters(
        {k.removeprefix("experts.expert0."): v for k, v in p.items() if "expert0" in k}
    )
    np.testing.assert_allclose(model(X), single(X), rtol=1e-11, atol=1e-12)


def balance(be, model, X):
    _, chosen, probabilities = model.call("route", X)
    return be.numpy(be.api.load_balancing_loss(*be.array((probabilities, chosen))))


def test_the_balancing_loss_is_the_formula(be):
    probabilities = np.array([[0.5, 0.3, 0.2], [0.6, 0.1, 0.3], [0.2, 0.7, 0.1], [0.4, 0.4, 0.2]])
    chosen = np.array([[0], [0], [1], [0]])
    often, mean = np.array([0.75, 0.25, 0]), probabilities.mean(0)
    found = be.numpy(be.api.load_balancing_loss(*be.array((probabilities, chosen))))
    np.testing.assert_allclose(found, 3 * (often * mean).sum(), rtol=1e-12)
    two = np.argsort(-probabilities, kind="stable")[:, :2]
    found = be.numpy(be.api.load_balancing_loss(*be.array((probabilities, two))))
    wanted = 3 * (np.array([1, 0.75, 0.25]) * mean).sum()  # twice as often, one in two at a time
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    even = np.full((3, 3), 1 / 3), np.arange(3)[:, None]
    np.testing.assert_allclose(be.numpy(be.api.load_balancing_loss(*be.array(even))), 1)


def test_the_balancing_losss_gradient(be):
    probabilities, chosen = np.abs(draw(0, 2, 3, 5)), np.array([[[0, 1], [0, 2], [4, 0]]] * 2)

    def loss(p):
        return be.api.load_balancing_loss(p, be.array(chosen))

    _, (gradient,) = be.vjp(loss, (probabilities,), np.array(1.0))
    often = np.bincount(chosen.ravel(), minlength=5) / 6
    np.testing.assert_allclose(gradient, np.broadcast_to(5 * often / 6, (2, 3, 5)), rtol=1e-12)


def test_gradients_equal_the_references(be):
    """An expert that nobody asks has a gradient of zeros."""
    X, cotangent = draw(5, 1, 3, 4), draw(6, 1, 3, 4)
    found = [build(b).vjp((X,), cotangent) for b in (be, d2l_ext.backend("reference"))]
    (output, gradients, (by_x,)), (wanted, by_name, (wanted_by_x,)) = found
    np.testing.assert_allclose(output, wanted, rtol=1e-11)
    np.testing.assert_allclose(by_x, wanted_by_x, rtol=1e-9, atol=1e-12)
    assert any(not g.any() for g in by_name.values())
    for key, gradient in by_name.items():
        np.testing.assert_allclose(gradients[key], gradient, rtol=1e-9, atol=1e-12, err_msg=key)


@pytest.mark.parametrize("k", [0, 6])
def test_k_that_cannot_be_is_the_same_error_everywhere(be, k):
    with pytest.raises(ValueError, match=f"k: got {k}, must be between 1 and num_experts=5"):
        build(be, k=k)


def test_a_layer_is_trained_by_itself(any_backend):
    """Its outputs are logits then, and a label beyond them is refused everywhere."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((2, 3, 6)), rng.integers(0, 6, (2, 3))
    model = any_backend.model(any_backend.api.MixtureOfExperts(6, 4, 3, 2), X, dtype="float64")
    trainer = any_backend.trainer(model, lr=0.01)
    before = trainer.loss((X, Y))
    assert trainer.step((X, Y)) == pytest.approx(before, rel=1e-12)
    assert trainer.loss((X, Y)) < before
    with pytest.raises(ValueError, match="Y: got token 6, must be between 0 and 5"):
        trainer.step((X, np.full_like(Y, 6)))


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ([[0, 3]], "chosen: got expert 3, must be between 0 and 2"),
        ([[0, -1]], "chosen: got expert -1, must be between 0 and 2"),
        ([[0.0, 1.0]], "chosen: got dtype float64, must be an integer dtype"),
        ([[0, 1], [1, 2]], "chosen: got shape (2, 2), must be (1, k), as the probabilities"),
    ],
)
def test_the_loss_knows_which_experts_there_are(any_backend, chosen, message):
    arrays = any_backend.array((np.full((1, 3), 1 / 3), np.array(chosen)))
    with pytest.raises(ValueError, match=re.escape(message)):
        any_backend.api.load_balancing_loss(*arrays)
