"""A port in bfloat16 or float16, judged by what a trusted model's errors are there."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import d2l_ext
from d2l_ext.porting import locate, reduced
from d2l_ext.porting.known.precision import holds, rounded, rounding

torch = pytest.importorskip("torch")
import low  # noqa: E402 - after importorskip

CAUSES = {
    "low norm": ("norm", "float32 island missing (norm)"),
    "low RMS norm": ("last", "float32 island missing (norm)"),
    "low softmax": ("W_v → W_o", "float32 island missing (softmax)"),
    "low loss": ("the model", "float32 island missing (loss)"),
    "no scale": ("W_v → W_o", "attention scale 1 / sqrt(d)"),
    "no mask": ("W_v → W_o", "causal mask"),
    "position": ("embedding → position", "position offset"),
    "activation": ("fc1 → fc2", "activation"),
    "no residual": ("W_o → norm", "unknown"),
    "no bias": ("fc1", "missing bias"),
    "transposed": ("W_o", "transposed kernel"),
    "variance": ("norm", "layer-norm variance"),
}
# `make test` tries these; the others search for long, or are like them.
FAST = {"low norm", "low RMS norm", "position", "transposed"}
FLOATS = hnp.arrays(np.float32, 8, elements=st.floats(width=32, allow_nan=False))


@settings(max_examples=50, deadline=None)
@given(FLOATS)
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_rounding_is_the_framework_s(precision, x):
    wanted = torch.from_numpy(x).to(getattr(torch, precision)).float().numpy()
    np.testing.assert_array_equal(rounded(x, precision), wanted)
    assert holds(wanted, precision)


@settings(max_examples=20, deadline=None)
@given(hnp.arrays(np.float64, (3, 4), elements=st.floats(-9, 9)))
def test_every_operation_on_a_rounding_array_rounds(x):
    one = rounding(x, "bfloat16")
    results = one @ one.T, np.exp(one), one.mean(axis=-1), np.where(one > 0, one, 0.1), one[0] / 3
    for y in results:
        assert y.precision == "bfloat16"
        assert holds(np.asarray(y), "bfloat16")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_nothing_is_found_in_a_port_that_is_right(dtype):
    found, _ = low.located("right", 0, getattr(torch, dtype))
    assert found.differences == [], found
    assert {row.dtype for row in found.rows} == {dtype}
    assert len(found.rows) > 20
    assert any(row.error > 1e-4 for row in found.rows)  # it is not computed in float64


@pytest.mark.parametrize(
    "mistake", [m if m in FAST else pytest.param(m, marks=pytest.mark.slow) for m in low.MISTAKES]
)
def test_a_mistake_is_one_place_with_its_cause(mistake):
    found = low.located(mistake, 0)[0].differences
    assert (found[0].place, found[0].cause) == CAUSES[mistake]
    assert len(found) == (2 if mistake == "no residual" else 1)  # there are two of them


@pytest.mark.slow
@pytest.mark.parametrize("missing", [None, "softmax", "loss"])
def test_a_port_in_another_framework(missing):
    pytest.importorskip("jax")
    d2l_ext.backend("jax")
    model, *inputs = low.drawn(0, torch.bfloat16)
    port = low.nnx_port(model, [missing])
    found = locate(copy.deepcopy(model).double(), port, *inputs, trusted=model).differences
    wanted = [] if missing is None else [f"float32 island missing ({missing})"]
    assert [one.cause for one in found] == wanted, found


def test_dropout_and_overflow_are_named():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
            self.between = torch.tanh

        def forward(self, X):
            return self.last(self.between(self.first(X)))

    torch.manual_seed(0)
    model, X = Model().half(), np.random.default_rng(0).standard_normal((5, 4))
    causes = {
        "dropout left on": lambda Y: torch.nn.functional.dropout(torch.tanh(Y), 0.5),
        "overflow": lambda Y: torch.tanh(Y) * 60000 * 4 / 240000,
    }
    for cause, between in causes.items():
        port = copy.deepcopy(model)
        port.between = between
        (found,) = locate(copy.deepcopy(model).double(), port, X, trusted=model).differences
        assert (found.place, found.cause) == ("first → last", cause)


def test_a_port_may_round_twice_but_not_more():
    """Of errors that are as large as one, two and four roundings, the last is beyond."""
    rng, errors = np.random.default_rng(0), [reduced.Errors() for _ in range(3)]
    for _ in range(48):
        x = rng.standard_normal(100)
        once = rounded(x, "bfloat16")
        noise = rng.permutation(once - x)
        for one, port in zip(errors, (once, once + noise, once + 2 * noise), strict=True):
            one.add(x, once, port, "bfloat16")
    assert [one.error <= one.budget for one in errors] == [True, True, False]


def test_another_precision_is_refused():
    model = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="trusted: got a model in float32, must be in bfloat16 or"):
        locate(model, model, np.ones((1, 2)), trusted=model)


def test_a_sum_of_what_is_rounded_may_lie_half_way():
    """Between two numbers, and be rounded by half of their distance as often as not at all."""
    product, bias = np.random.default_rng(0).uniform(0.5, 1, 4000), np.array(0.75)
    exact, errors = product + bias, reduced.Errors()
    port = rounded(rounded(product, "bfloat16") + bias, "bfloat16")
    errors.add(exact, rounded(exact, "bfloat16"), port, "bfloat16", bias)
    assert errors.error <= errors.limit
