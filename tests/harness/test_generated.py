"""Cases that nobody wrote: Hypothesis draws them, and every framework must agree.

A failure prints the name of the smallest case that fails, and the command that reproduces it.
"""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shared import failures, frameworks

from d2l_ext.agreement.cases import generated

# Each new shape is compiled in JAX and TensorFlow: a few in `make test`, many in `make test-all`.
EXAMPLES = 10 if settings.default.derandomize else 200

NAMES = st.builds(
    generated.name,
    kind=st.sampled_from(generated.KINDS),
    sizes=st.integers(0, len(generated.SIZES) - 1),
    mask=st.sampled_from(generated.HOW),
    scale=st.sampled_from(generated.SCALES),
    dropout=st.booleans(),
)


@pytest.mark.parametrize("backend", frameworks("jax"), indirect=True)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
@given(name=NAMES)
def test_generated_cases_agree(backend, name):
    wrong = failures(name, backend)
    again = f'python -m d2l_ext compare --train none --cases "{name}"'
    assert not wrong, "\n".join([*wrong, again])


def test_a_name_tells_the_whole_case():
    name = generated.name("GRU", 2, "lengths", "30", True)
    assert name == "generated/GRU/sizes=2,mask=lengths,scale=30,dropout=1"
    job = generated.case(name).job(0)
    assert job.inputs[0].shape == (1, 3, 4)  # (steps, batch, size)
    assert job.training
    assert (generated.case(name).job(0).inputs[0] == job.inputs[0]).all()


@pytest.mark.parametrize("kind", generated.KINDS)
def test_every_kind_has_cases_of_all_sizes(kind):
    for sizes in range(len(generated.SIZES)):
        for mask in generated.HOW:
            assert generated.case(generated.name(kind, sizes, mask, "1", False)).job(0).inputs


@pytest.mark.parametrize(
    "name",
    [
        "generated/GRU",
        "generated/GRU/sizes=99,mask=none,scale=1,dropout=0",
        "generated/RNN/sizes=1,mask=none,scale=1,dropout=0",
        "generated/GRU/sizes=1,mask=never,scale=1,dropout=0",
    ],
)
def test_another_name_is_an_error(name):
    with pytest.raises(ValueError, match=r"case|kind|mask"):
        generated.case(name)
