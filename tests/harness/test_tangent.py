"""The reference's gradients, in many directions at once, are those of the complex step."""

import types

import numpy as np
import pytest

from d2l_ext import reference
from d2l_ext.agreement.cases.catalogue import catalogue, sample
from d2l_ext.agreement.running.perform import perform
from d2l_ext.reference import backend, complex_step, tangent
from d2l_ext.reference.tangent import Tangent, gradient


def derivatives(name, dtype):
    """Gradients of a case by parameters and inputs, of the outputs alone."""
    job = catalogue()[name].job(0)
    job.steps = job.decode = None
    results = perform(backend.BACKEND, job, dtype)
    return results.get("gradients", {}) | results.get("input gradients", {})


def assert_close(one, other, rtol, atol):
    assert one.keys() == other.keys()
    scale = max((np.abs(x).max() for x in other.values()), default=0)
    for name, x in other.items():
        assert one[name].dtype == x.dtype
        np.testing.assert_allclose(one[name], x, rtol=rtol, atol=atol * scale, err_msg=name)


# A third of the sample in the quick tests.
THIRD = [pytest.param(n, marks=[pytest.mark.slow] * (i % 3 > 0)) for i, n in enumerate(sample())]


@pytest.mark.parametrize("name", THIRD)
def test_they_are_those_of_the_complex_step(name, monkeypatch):
    found = derivatives(name, "float64")
    monkeypatch.setattr(backend, "gradient", complex_step.gradient)
    assert_close(found, derivatives(name, "float64"), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    "name", ["scoring/AdditiveAttention/mask and lengths", "recurrent/LSTM/dropout"]
)
def test_they_are_so_in_long_double(name, monkeypatch):
    found = derivatives(name, "longdouble")
    monkeypatch.setattr(backend, "gradient", complex_step.gradient)
    assert_close(found, derivatives(name, "longdouble"), rtol=1e-14, atol=1e-17)


@pytest.mark.parametrize("name", ["seq2seq/LSTMDecoder/all", "transformer/PositionWiseFFN/gelu"])
def test_how_many_directions_are_taken_at_once_changes_nothing(name, monkeypatch):
    found = []
    for directions in (10**6, 7):
        monkeypatch.setattr(tangent, "DIRECTIONS", directions)
        found.append(derivatives(name, "float64"))
    for name, x in found[0].items():
        np.testing.assert_array_equal(found[1][name], x)


def test_adam_by_hand():
    params = {"p": np.array([1.0])}
    model = types.SimpleNamespace(
        backend=backend.BACKEND, parameters=lambda: dict(params), load_parameters=params.update
    )
    trainer = backend.ReferenceTrainer(model, lr=0.1, max_norm=1.0)
    clipped = trainer._clipped({"p": np.array([3.0])})
    assert clipped["p"][0] == pytest.approx(1)
    trainer._update(clipped, 0.1, 0.001)
    assert params["p"][0] == pytest.approx(0.9)
    state = trainer.state()
    assert state["m"]["p"][0] == pytest.approx(0.1)
    assert state["v"]["p"][0] == pytest.approx(0.001)
    # m = 0.9 * 0.1 + 0.1 * 0.5, v = 0.999 * 0.001 + 0.001 * 0.25, corrected by 1 - beta^2.
    trainer._update(trainer._clipped({"p": np.array([0.5])}), 0.19, 0.001999)
    expected = 0.9 - 0.1 * (0.14 / 0.19) / np.sqrt(0.001249 / 0.001999)
    assert params["p"][0] == pytest.approx(expected, rel=1e-6)


def test_a_loss_in_long_double_keeps_its_digits():
    api = reference
    module = api.EncoderDecoder(api.Seq2SeqEncoder(7, 3, 4, 1), api.Seq2SeqDecoder(8, 5, 4, 1))
    batch = (np.array([[3, 1, 4]]), np.array([[1, 2]]), np.array([3]), np.array([[2, 5]]))
    model = backend.BACKEND.model(module, *batch[:3], dtype="longdouble")
    loss = backend.BACKEND.trainer(model, 0.01).step(batch)
    assert loss.dtype == np.longdouble and loss != float(loss)


def test_a_function_without_a_rule_is_refused():
    with pytest.raises(NotImplementedError, match="arctan"):
        gradient(np.arctan, np.ones(3))
    with pytest.raises(TypeError):
        gradient(np.cumsum, np.ones(3))


def test_gradients_nest_like_the_values():
    def function(values):
        (x, none, n), y = values
        assert isinstance(x, Tangent) and isinstance(y, Tangent)
        assert none is None and isinstance(n, np.ndarray)
        return (x * x * y * n).sum()

    values = ((np.array([2.0, 3.0]), None, np.array([1, 2])), np.float32([[5]]))
    (by_x, none, by_n), by_y = gradient(function, values)
    np.testing.assert_array_equal(by_x, [20, 60])
    np.testing.assert_array_equal(by_y, [[22]])
    assert by_y.dtype == np.float32
    assert none is None and by_n is None


def test_what_does_not_depend_on_a_value_has_no_gradient():
    np.testing.assert_array_equal(gradient(lambda x: 3.0, np.ones(2)), [0, 0])
    assert gradient(lambda n: n.sum(), np.ones(2, int)) is None


def test_long_double_is_more_exact_than_float64():
    """Also where SciPy has no long double: erf(1) to 19 digits."""
    x = np.array([1], np.longdouble)
    expected = np.longdouble("0.8427007929497148693")
    assert abs(reference.layers.erf(x)[0] - expected) < 1e-18
