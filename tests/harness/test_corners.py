"""Every class and function at the edges of what its inputs may be, which signatures tell."""

import numpy as np
import pytest
from shared import failures, frameworks

from d2l_ext.agreement.cases.corners import CORNERS, FREE, bases, corner, corners, inputs
from d2l_ext.agreement.cases.named import named
from d2l_ext.agreement.judging import budget
from d2l_ext.agreement.judging.answer import exact_answer

ALL = corners()
# What `make test` runs, where nothing is compiled: one of each corner, of several topics.
FEW = [
    names[place * len(names) // len(CORNERS)]
    for place, names in enumerate([n for n in ALL if n.endswith(f"/{how}")] for how in CORNERS)
]


@pytest.mark.parametrize("name", FEW)
@pytest.mark.parametrize("backend", frameworks("jax", "tensorflow"), indirect=True)
def test_agrees_in_a_corner(backend, name):
    wrong = failures(name, backend)
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in FEW])
def test_agrees_in_every_corner(backend, name):
    wrong = failures(name, backend)
    assert not wrong, "\n".join(wrong)


def test_there_are_all_corners_and_all_classes():
    assert {name.rpartition("/")[2] for name in ALL} == set(CORNERS)
    without = {case.name for case in bases().values()} - {
        name.removeprefix("corners/").rpartition("/")[0] for name in ALL
    }
    # What takes no arrays has no edges; blocks come in a list, whose edges are not known.
    assert {name.partition("/")[2].partition("/")[0] for name in without} <= {
        *("causal_mask", "permutation", "alibi", "online_softmax")
    }


@pytest.mark.parametrize("name", [n for n in ALL if n.endswith(tuple(f"one of {a}" for a in FREE))])
def test_an_axis_is_cut_wherever_it_is(name):
    case, axis = corner(name), name.rpartition(" of ")[2]
    values = dict(zip(inputs(case), case.draw_inputs(np.random.default_rng(1)), strict=False))
    sizes = [  # counted from the end, as other axes may stand in front
        value.shape[known.axes.index(axis) - len(known.axes)]
        for value, known in zip(values.values(), inputs(case).values(), strict=False)
        if isinstance(value, np.ndarray)
        and axis in known.axes
        and (len(known.axes) == value.ndim or known.axes[0].startswith(("...", "*")))
    ]
    assert set(sizes) == {1}


def test_a_corner_changes_its_base_and_nothing_else():
    base = next(case for case in bases().values() if case.name.startswith("recurrent/GRU"))
    one, other = base.job(0), corner(f"corners/{base.name}/lengths 0").job(0)
    assert (other.inputs[2] == 0).all()
    assert not (one.inputs[2] == 0).all()
    assert one.inputs[0].shape == other.inputs[0].shape


def test_an_ill_conditioned_corner_may_have_larger_errors():
    """Moving its parameters by a rounding changes gradients 40 times as much as in another's."""
    case, sizes = corner("corners/transformer/TransformerEncoder/post/equal lengths"), []
    for seed in (0, 2):
        job = case.job(seed)
        own = budget.conditioned(job, exact_answer(job), "float64")
        sizes.append(own["gradients"]["embedding.weight"])
    assert sizes[0] > 10 * sizes[1]
    job = case.job(0)
    allowed = budget.budget(case, 0, job, exact_answer(job), "float64")
    assert allowed.of("gradients", "embedding.weight") >= budget.FACTOR * sizes[0]


def test_a_corner_is_found_by_its_name_and_others_are_errors():
    name = next(iter(ALL))
    assert [case.name for case in named(name)] == [name]
    assert len(named("corners")) == len(ALL)
    with pytest.raises(ValueError, match="no name of a corner"):
        corner("corners/recurrent/GRU/three layers/a sphere")
