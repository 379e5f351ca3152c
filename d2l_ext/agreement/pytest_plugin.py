"""A pytest fixture for readers' own code: one test, every framework, the measured budget.

In a ``conftest.py``::

    pytest_plugins = ["d2l_ext.agreement.pytest_plugin"]

and in a test::

    def test_pooling_twice(agreement):
        def twice(api, X, valid_lens):
            weights = api.masked_softmax(X, valid_lens)
            return weights @ (weights @ X)

        agreement.of_function(twice, X, VALID_LENS)

The test runs once for each framework that is installed. Outputs, attention weights and gradients
are compared with the NumPy reference in both precisions; a failure names the tensor, its error, its
budget, the worst element with its two values, and how to find the layer.
"""

import numpy as np
import pytest

from d2l_ext import interface, reference
from d2l_ext.agreement.cases.case import Case
from d2l_ext.agreement.judging.solved import SolvedCase
from d2l_ext.agreement.judging.verdict import verdicts
from d2l_ext.config import describe
from d2l_ext.nested import nest

# What finds the layer, with the test's own `build` and `inputs`.
LOCATE = """\
which layer it is, says
    from d2l_ext import backend
    from d2l_ext.porting import locate
    right, wrong = (
        be.model(build(be.api), *inputs, dtype="float64")
        for be in (backend("reference"), backend("{name}"))
    )
    print(locate(right, wrong, *inputs))"""


class Agreement:
    """Compares one backend with the reference.

    Attributes:
        backend: the framework's `Backend`.
    """

    def __init__(self, backend, name):
        self.backend, self._name = backend, name

    def of_function(self, function, *inputs, seed=0):
        """Compare a function's outputs and its gradients by the floating inputs.

        Args:
            function: ``function(api, *arrays)``, written with the names of a column, operators, and
                nothing of a framework.
            *inputs: NumPy arrays, nested.
            seed: of the cotangent.
        """
        self._check({"function": function, "options": {}}, inputs, seed, training=False)

    def of_module(self, build, *inputs, seed=0, training=False):
        """Compare a module's outputs, attention weights and gradients.

        Args:
            build: ``build(api)`` returns a module made of a column's classes.
            *inputs: NumPy arrays, nested.
            seed: of parameters, dropout masks and cotangent.
            training: whether dropout acts.
        """
        self._check(describe(build(reference)), inputs, seed, training)

    def _check(self, target, inputs, seed, training):
        case = Case(self._name, target, lambda rng: _as_drawn(inputs), training=training)
        solved = SolvedCase(case, seed)
        found = [v for d in ("float64", "float32") for v in verdicts(solved, self.backend, d)]
        wrong = [v for v in found if not v.agrees]
        if wrong:
            pytest.fail("\n".join(self._explained(wrong, case, seed)), pytrace=False)

    def _explained(self, wrong, case, seed):
        """Yield the lines of a failure: what is wrong, what the words mean, how to go on."""
        yield from map(str, wrong)
        yield f"seed {seed}: of the parameters, dropout masks and cotangent that are drawn here"
        if any(v.quantity == "outputs of vjp" for v in wrong):
            yield "outputs of vjp: the outputs once more, of the pass that computes gradients"
        if "class" in case.target:
            yield LOCATE.format(name=self.backend.name)


def _as_drawn(inputs):
    """Round floating inputs to float32, so that both precisions start from the same numbers."""

    def leaf(x):
        x = np.asarray(x)
        return x.astype(np.float32) if x.dtype.kind == "f" else x

    return nest(leaf, tuple(inputs))


@pytest.fixture(params=interface.COLUMNS)
def agreement(request):
    """Compare the reader's code with the reference, in each framework in turn."""
    if request.param not in interface.installed():
        pytest.skip(f"{request.param} is not installed: {interface.install(request.param)}")
    return Agreement(interface.backend(request.param), request.node.originalname)
