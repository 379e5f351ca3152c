"""What changes that should not is reported: arrays that a column is given, and parameters."""

import numpy as np
import pytest
from planted import PACKAGE, planted
from shared import CATALOGUE, solved

import d2l_ext
from d2l_ext.agreement.judging.verdict import verdicts
from d2l_ext.agreement.running.changes import NOTHING, watched

RMS = "normalization/RMSNorm/all"
# Column, file, a line, what is done after it, and what is reported then. JAX's and TensorFlow's
# arrays cannot be written into, their parameters can.
BUGS = [
    (
        *("torch", "normalization", "F.rms_norm(X, self.weight.shape, self.weight, self.eps)"),
        "if not torch.is_grad_enabled(): X.zero_()",
        "argument 0.0",
    ),
    (
        *("mxnet", "normalization", "X / root * weight"),
        "X[:] = X if autograd.is_recording() else 0",
        "argument 0.0",
    ),
    (
        *("jax", "backend"),
        "_run(self.structure, self.params, inputs, training, masks, next(self.draws))",
        "self.params = jax.tree.map(lambda p: 2 * p, self.params)",
        "parameter weight",
    ),
    (
        *("tensorflow", "normalization"),
        "tf.cast(exact / tf.sqrt(mean_square + self.eps) * weight, X.dtype)",
        "self.weight.assign(2 * self.weight)",
        "parameter weight",
    ),
]


@pytest.mark.parametrize(("column", "file", "line", "then", "what"), BUGS, ids=lambda x: x[:10])
def test_a_column_that_changes_what_is_not_its_own_is_reported(column, file, line, then, what):
    if column not in d2l_ext.installed():
        pytest.skip(f"{column} is not installed")
    path = PACKAGE / column / f"{file}.py"
    indent = path.read_text().partition(f"return {line}")[0].rpartition("\n")[2]
    new = f"\n{indent}".join((f"found = {line}", then, "return found"))
    text = path.read_text().replace(f"return {line}", new)
    with planted(column, file, text) as backend:
        found = verdicts(solved(RMS), backend, "float32")
    wrong = [v for v in found if v.quantity == "changed" and v.tensor == "forward"]
    assert [v.agrees for v in wrong] == [False]
    assert what in str(wrong[0])


def model():
    backend = d2l_ext.backend("reference")
    x = np.ones((2, 3))
    return backend.model(backend.api.RMSNorm(3), x, dtype="float64"), x


def test_nothing_is_reported_where_nothing_changes():
    one, x = model()
    value, changed = watched(one, lambda: one(x))
    np.testing.assert_array_equal(value, one(x))
    assert changed == NOTHING


def test_parameters_may_change_in_training_alone():
    one, _ = model()

    def train():
        one.load_parameters({"weight": np.full(3, 2.0)})

    assert watched(one, train, trains=True)[1] == NOTHING
    one.load_parameters({"weight": np.ones(3)})
    assert watched(one, train)[1] == "parameter weight"


def test_it_is_told_which_of_several_arrays_changes_and_nobody_watches_afterwards():
    one, _ = model()

    def write():
        one.cast(np.ones(2))
        _, (_, second) = one.cast([np.ones(2), (None, np.array([np.nan, 1]))])
        second[1] = 3

    assert watched(one, write)[1] == "argument 1.1.1"
    assert one.on_cast is None


def test_an_error_ends_the_watch():
    one, _ = model()
    with pytest.raises(ZeroDivisionError):
        watched(one, lambda: 1 / 0)
    assert one.on_cast is None


def acts(case):
    """Names of the classes whose dropout acts in a case, and the mode."""
    if case.job(0).layers:
        target = case.target
        names = [
            target["class"],
            *(v["class"] for v in target["config"].values() if type(v) is dict),
        ]
        return {(name, case.training) for name in names}
    return set()


def test_every_class_that_drops_has_cases_in_both_modes():
    found = set().union(*(acts(case) for case in CATALOGUE.values()))
    assert found
    assert {(name, not training) for name, training in found} == found
