"""What no comparison shows: the framework's own dropout, and classes used without a backend."""

import numpy as np

RATE, SHAPE = 0.3, (40, 30, 20)


def test_the_frameworks_own_masks_drop_at_the_rate_and_scale_up(backend):
    X = np.full(SHAPE, 2.0, np.float32)
    model = backend.model(backend.api.LearnedPositionalEncoding(SHAPE[2], RATE, max_len=30), X)
    model.load_parameters({name: np.zeros_like(p) for name, p in model.parameters().items()})
    one, other = (model(X, training=True, dropout="own") for _ in range(2))
    for Y in (one, other):
        kept = Y != 0
        np.testing.assert_allclose(Y[kept], 2 / (1 - RATE), rtol=1e-6)
        assert abs(kept.mean() - (1 - RATE)) < 5 * np.sqrt(RATE * (1 - RATE) / X.size)
    assert not np.array_equal(one, other)
    np.testing.assert_array_equal(model(X), X)


def test_a_class_on_its_own_keeps_its_weights(backend):
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape).astype("float32") for shape in ((2, 3, 4), (2, 5, 4))]
    arrays, module = [backend.array(x) for x in inputs], backend.api.DotProductAttention(0)
    module(*arrays, arrays[1])
    scores = inputs[0] @ inputs[1].swapaxes(1, 2) / 2
    expected = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(backend.numpy(module.attention_weights), expected, rtol=1e-5)


def test_a_class_on_its_own_takes_its_inputs_as_they_are(backend):
    X = backend.array(np.random.default_rng(0).standard_normal((2, 3, 4)))
    module = backend.api.DotProductAttention(0)
    assert backend.numpy(module(X, X, X)).dtype == np.float64
