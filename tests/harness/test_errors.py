"""The harness's own rules: what counts as an error, and how large it may be."""

import math

import numpy as np
import pytest

from d2l_ext.agreement.cases.job import Job
from d2l_ext.agreement.judging.answer import zeros
from d2l_ext.agreement.judging.budget import Budget, amplified, larger, unit
from d2l_ext.agreement.judging.error import error, errors
from d2l_ext.agreement.judging.verdict import Verdict
from d2l_ext.interface import EPSILON


def size(a, b, **options):
    return error(np.asarray(a, float), np.asarray(b, float), **options)[0]


def test_the_error_is_relative_to_the_largest_entry():
    assert size([1.0, 2.002], [1.0, 2.0]) == pytest.approx(0.001)
    assert size([1.0, 2.0], [1.0, 2.0]) == 0


def test_of_zeros_only_zeros_are_right():
    assert size([0.0, 0.0], [0.0, 0.0]) == 0
    assert size([0.0, 1e-300], [0.0, 0.0]) == math.inf
    assert size([0.0, 1e-310], [0.0, 0.0]) == 0  # less than float64 can hold in full
    assert size([0.0, 1e-3], [0.0, 0.0], scale=10) == pytest.approx(1e-4)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ([np.nan, 1], [1, 1]),
        ([1, 1], [np.nan, 1]),
        ([1, np.nan], [np.nan, 1]),
        ([np.inf, 1], [-np.inf, 1]),
        ([np.inf, 1], [np.nan, 1]),
        ([1e308, 1], [np.inf, 1]),
    ],
)
def test_what_is_not_finite_must_be_so_in_the_same_places(a, b):
    assert size(a, b) == math.inf
    assert size(b, b) == 0


def test_shapes_and_integers_are_compared_as_they_are():
    assert size([1.0, 1.0], [[1.0, 1.0]]) == math.inf
    assert error(np.array([True]), np.array([True]))[0] == 0
    assert error(np.array([1]), np.array([2]))[0] == math.inf
    assert size(np.empty((0, 3)), np.empty((0, 3))) == 0


def found(results, exact, dtype="float64", **options):
    return {(e.quantity, e.tensor): e for e in errors(results, exact, dtype, **options)}


def test_what_is_missing_unknown_or_of_another_dtype_is_an_error():
    exact = {"outputs": {"0": np.ones(2), "1": np.ones(2)}}
    results = {"outputs": {"0": np.ones(2, np.float32), "2": np.ones(2)}}
    reasons = {tensor: e.reason for (_, tensor), e in found(results, exact).items()}
    assert "float32" in reasons["0"]
    assert reasons["1"] == "is missing"
    assert reasons["2"] == "is unknown"


def test_a_zero_gradient_is_judged_at_the_scale_of_the_largest():
    exact = {"gradients": {"W": np.array([4.0]), "b": np.array([1e-19])}}
    sizes = found({"gradients": {"W": np.array([4.0]), "b": np.array([4e-15])}}, exact)
    assert sizes["gradients", "b"].size == pytest.approx(1e-15, rel=1e-3, abs=0)
    sizes = found({"gradients": {"W": np.array([4.0]), "b": np.array([4e-3])}}, exact)
    assert sizes["gradients", "b"].size == pytest.approx(1e-3)
    # One that is merely small has its own scale.
    exact["gradients"]["b"] = np.array([1e-9])
    sizes = found({"gradients": {"W": np.array([4.0]), "b": np.array([2e-9])}}, exact)
    assert sizes["gradients", "b"].size == pytest.approx(1)


def test_a_gradient_that_nearly_cancels_is_known_to_some_rounding_of_its_terms():
    exact = {"input gradients": {"0": np.array([1e-6])}}
    for change, size in ((1e-15, 1e-15), (1e-12, 1e-6)):  # of the terms; of the gradient itself
        results = {"input gradients": {"0": np.array([1e-6 + change])}}
        sizes = found(results, exact, term=1.0)
        assert sizes["input gradients", "0"].size == pytest.approx(size, rel=1e-3, abs=0)


def test_a_saturated_gradient_is_known_to_some_rounding_of_its_terms():
    exact = {"gradients": {"W": np.array([0.1])}}
    results = {"gradients": {"W": np.array([0.1 + 1e-14])}}
    for saturates, size in ((True, 1e-15), (False, 1e-13)):
        sizes = found(results, exact, term=10.0, saturates=saturates)
        assert sizes["gradients", "W"].size == pytest.approx(size, rel=1e-2, abs=0)


def test_gradients_are_sums_of_cotangents_times_inputs():
    inputs = (np.array([3.0, np.inf]), np.array([9]), None)
    assert Job("a", {"function": "f"}, inputs, cotangent=np.array([-2.0])).largest_term == 6
    assert Job("a", {"function": "f"}, (np.array([0.1]),), cotangent=np.ones(1)).largest_term == 1


def test_zero_gradients_are_not_compared_after_a_step():
    assert zeros({"W": np.array([4.0]), "b": np.array([1e-19]), "c": np.array([1e-9])}) == {"b"}
    exact = {"step 1": {"W": np.ones(1), "b": None}}
    assert found({"step 1": {"W": np.ones(1), "b": np.ones(1)}}, exact).keys() == {("step 1", "W")}


def test_the_budget_is_eight_times_the_reference_and_never_below_rounding():
    own = {"outputs": {"0": 1e-6}}
    assert Budget(own, "float32").of("outputs", "0") == pytest.approx(8e-6)
    assert Budget(own, "float32").of("outputs", "1") == 8 * unit("float32")
    assert Budget({}, "float64").of("outputs", "0") == 64 * unit("float64")
    assert Budget({"gradients": {"W": 5e-14}}, "float64").of("gradients", "W") == 4e-13
    assert Budget(own, "float32", times=4).of("outputs", "0") == pytest.approx(32e-6)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_adam_makes_of_a_rounding_is_foreseen(dtype):
    g = np.array([0.5, 1e-3, 3e-9, 0.0], "longdouble")
    p = np.ones_like(g)
    stepped, off = (
        p - 0.01 * gradient / (np.abs(gradient) + EPSILON)  # Adam's first step
        for gradient in (g, g + unit(dtype) * 0.5 * (g > 0))
    )
    job = Job("a", {}, (), {"W": p}, steps={"lr": 0.01, "masks": [{}]})
    foreseen = amplified(job, {"step 1": {"W": stepped}}, dtype)["step 1"]["W"]
    change = np.abs(stepped - off).max()
    assert change <= foreseen <= 10 * change


def test_of_two_measurements_the_larger_counts():
    one, other = {"a": {"x": 1.0, "y": 5.0}}, {"a": {"x": 2.0}, "b": {"z": 3.0}}
    assert larger(one, other) == {"a": {"x": 2.0, "y": 5.0}, "b": {"z": 3.0}}


def verdict(error, budget):
    return Verdict("case", 0, "torch", "float64", "outputs", "0", error, budget)


def test_a_verdict_compares_error_and_budget():
    assert verdict(1.0, 1.0).agrees
    assert not verdict(1.1, 1.0).agrees
    assert not verdict(math.inf, 1.0).agrees
    assert not verdict(math.nan, 1.0).agrees
    assert verdict(0.0, 0.0).agrees
    assert not verdict(1e-30, 0.0).agrees
