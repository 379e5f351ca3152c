"""The derivatives in all directions at once are those of the complex step."""

import numpy as np
import pytest

from d2l_ext import reference
from d2l_ext.agreement.cases.catalogue import catalogue
from d2l_ext.agreement.judging.exact import evaluate
from d2l_ext.agreement.judging.tangent import Tangent, gradients, independent
from d2l_ext.agreement.running.job import flat
from d2l_ext.config import build
from d2l_ext.interface import nest
from d2l_ext.reference.backend import BACKEND, ReferenceModel

CASES = (
    "scoring/AdditiveAttention/mask and lengths",
    "scoring/CosineAttention/zero vectors",
    "scoring/GaussianAttention/dropout",
    "recurrent/GRU/state, lengths",
    "recurrent/LSTM/dropout",
    "seq2seq/BidirectionalEncoder/lengths",
    "transformer/TransformerEncoderBlock/dropout, bias",
    "transformer/PositionWiseFFN/gelu",
    "transformer/AddNorm/far from zero",
)
FUNCTIONS = (
    "masking/masked_softmax/empty rows",
    "seq2seq/masked_loss/pad",
    "scoring/attention/mask",
)


def assert_close(one, other):
    assert one.keys() == other.keys()
    scale = max(np.abs(x).max() for x in other.values())
    for name, x in other.items():
        np.testing.assert_allclose(one[name], x, rtol=1e-11, atol=1e-13 * scale, err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_modules_have_the_derivatives_of_the_complex_step(name):
    job = catalogue()[name].job(0)
    model = ReferenceModel(BACKEND, build(reference, job.target), job.inputs, 0, "float64")
    model.load_parameters(job.parameters)
    _, by_name, by_input = model.vjp(job.inputs, job.cotangent, job.training, job.masks)
    found = evaluate(job, "float64")
    assert_close(found["gradients"] | found["input gradients"], by_name | flat(by_input))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_have_the_derivatives_of_the_complex_step(name):
    job = catalogue()[name].job(0)

    def function(*inputs):
        return getattr(reference, job.target["function"])(*inputs, **job.target["options"])

    def double(x):
        return x.astype(float) if x.dtype.kind == "f" else x

    inputs = nest(double, job.inputs[:4])  # without the dropout mask of `attention`, which is None
    _, by_input = BACKEND.vjp(function, inputs, nest(double, job.cotangent))
    assert_close(evaluate(job, "float64")["input gradients"], flat(by_input))


def test_a_function_without_a_rule_is_refused():
    (x,) = independent([np.ones(3)])
    with pytest.raises(NotImplementedError, match="arctan"):
        np.arctan(x)
    with pytest.raises(TypeError):
        np.cumsum(x)


def test_variables_keep_to_their_own_directions():
    x, y = independent([np.array([2.0, 3.0]), np.array([[5.0]])])
    assert isinstance(x * y, Tangent)
    by_x, by_y = gradients((x * x * y).sum(), [x, y])
    np.testing.assert_array_equal(by_x, [20, 30])
    np.testing.assert_array_equal(by_y, [[13]])


def test_long_double_is_more_exact_than_float64():
    """Also where SciPy has no long double: erf(1) to 19 digits."""
    x = np.array([1], np.longdouble)
    expected = np.longdouble("0.8427007929497148693")
    assert abs(reference.layers.erf(x)[0] - expected) < 1e-18
