"""The fixture `agreement`, as a reader would use it (the first two are the documented examples)."""

import inspect
import textwrap
from pathlib import Path

import numpy as np
import pytest

from d2l_ext.agreement import pytest_plugin
from d2l_ext.agreement.pytest_plugin import Agreement

agreement = pytest_plugin.agreement

ROOT = Path(__file__).parents[2]
RNG = np.random.default_rng(0)
X, VALID_LENS = RNG.standard_normal((2, 3, 3)), np.array([2, 3])


def test_pooling_twice(agreement):
    def twice(api, X, valid_lens):
        weights = api.masked_softmax(X, valid_lens)
        return weights @ (weights @ X)

    agreement.of_function(twice, X, VALID_LENS)


def test_a_module_with_dropout(agreement):
    agreement.of_module(
        lambda api: api.AdditiveAttention(num_hiddens=8, dropout=0.5),
        *(RNG.standard_normal(shape) for shape in ((2, 1, 5), (2, 4, 3), (2, 4, 6))),
        VALID_LENS,
        training=True,
    )


def test_the_example_is_what_the_documentation_shows():
    source = inspect.getsource(test_pooling_twice)
    assert source in (ROOT / "README.md").read_text()
    assert textwrap.indent(source, "    ") in pytest_plugin.__doc__


def test_a_wrong_function_fails_and_says_where(backend):
    """The reference is asked for one thing and the framework for another."""
    name = backend.name

    def different(api, X):
        return api.masked_softmax(2 * X if api.__name__.endswith(name) else X)

    with pytest.raises(pytest.fail.Exception, match=f"{name} float64 .*outputs: error"):
        Agreement(backend, "different").of_function(different, X)
