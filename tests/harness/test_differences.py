"""Where the frameworks differ is measured, and is what the book and the columns rely on."""

import importlib
import math

import pytest

import d2l_ext
from d2l_ext.agreement.running.differences import DEFAULTS, LIMITS, NONE, measured

NAN = "NaN"
# torch, mxnet, jax, tensorflow, reference
KNOWN = {
    "layer norm, epsilon": (1e-5, 1e-5, 1e-6, 1e-3, 1e-5),
    "GELU(1)": (0.84134, 0.84134, 0.84119, 0.84134, 0.84134),
    "softmax of a row of -inf": (NAN, NAN, NAN, NAN, "0"),
    "cross-entropy, reduction": ("mean", "none", "none", "mean", "mean"),
    "Adam, first step at g = 1e-6, lr = 0.005": (
        *(-0.0049505, -0.0037988, -0.0049505, -0.0012013),
        -0.0049505,
    ),
    "clipped to norm 1, what is missing": (2e-7, "fails", 0.0, 0.0, 0.0),
    "GRU, order of the gates": ("r, z, n", "r, z, n", "r, z, n", "z, r, n", "r, z, n"),
    "GRU, biases per unit": (6, 6, 4, 6, 6),
    "LSTM, initial bias of the forget gate": (0, 0, 0, 1, 0),
    "dense layer, weight": ("(out, in)", "(out, in)", "(in, out)", "(in, out)", "(out, in)"),
    "dense layer 300 to 200, std of the start": (
        *(3**-0.5 * 300**-0.5, 0.07 * 3**-0.5, 300**-0.5, 250**-0.5),  # 1/sqrt(fan), Xavier
        250**-0.5,
    ),
    "dense layer, std of the bias": (300**-0.5 * 3**-0.5, 0, 0, 0, 0),
    "embedding 5000 x 64, std of the start": (1, 0.0404, 0.125, 0.0289, 1),
    "token id beyond the vocabulary": ("error", "row 2", NAN, "error", "error"),
    "RMSNorm, epsilon": (1e-7, NONE, 1e-6, 1e-6, 1e-6),
    "True in a mask, attention layer": ("ignore", NONE, "attend", "attend", NONE),
    "True in a mask, fused attention": ("attend", NONE, "attend", "attend", "attend"),
    "heads, in fused attention": (
        *("before the steps", NONE, "after the steps", "after the steps"),
        "before the steps",
    ),
    "an image's channels": ("first", "first", "last", "last", NONE),
    "a convolution at the edge": ("leaves out", "leaves out", "adds zeros", "leaves out", NONE),
    "writing into an array": ("in place", "in place", "a new array", "a new array", NONE),
}


@pytest.fixture(scope="module")
def found(any_backend):
    defaults = importlib.import_module(f"d2l_ext.{any_backend.name}.defaults")
    return any_backend.name, measured(defaults)


def test_the_defaults_are_what_they_were(found):
    name, values = found
    place = d2l_ext.BACKENDS.index(name)
    for difference, known in KNOWN.items():
        expected = known[place]
        if not isinstance(expected, str):
            expected = pytest.approx(expected, rel=0.06 if "std" in difference else 1e-3, abs=1e-9)
        assert values["defaults"][difference] == expected, difference
    far = values["defaults"]["layer norm, error at mean 1e4 in float32"]
    assert far > 100 if name == "jax" else far < 0.01
    assert {d.name for d in DEFAULTS} == values["defaults"].keys()


def test_the_limits_of_a_framework_are_still_there(found):
    """One that is gone is good news: the column need not go around it any more."""
    name, values = found
    known = {finding.name: finding for finding in LIMITS if finding.backend == name}
    assert values["limits"].keys() == known.keys()
    for finding, size in values["limits"].items():
        assert known[finding].holds(size), f"{finding}: {size}"


def test_a_finding_holds_at_its_size_only():
    finding = LIMITS[0]
    assert finding.holds(finding.size * 1.5)
    assert not finding.holds(finding.size / 100)
    assert not finding.holds(0.0)
    assert not finding.holds(math.inf)
