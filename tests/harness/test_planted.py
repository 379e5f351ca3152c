"""A planted bug is reported by a case of its topic, and nothing is reported where there is none."""

import pytest
from planted import BUGS, UNSEEN, failure, planted
from shared import CATALOGUE

import d2l_ext

# Those in whole models have to be compiled, in JAX and TensorFlow for half a minute each.
QUICK = [
    bug
    for bug in BUGS
    if not any(CATALOGUE[n].translates for n in CATALOGUE if n.startswith(bug.cases))
]
SAMPLE = QUICK[::5]


def report(bug):
    """Return what the first case that notices says, or None."""
    cases = [name for name in CATALOGUE if name.startswith(bug.cases)]
    assert cases, f"{bug.id}: no case begins with {bug.cases}"
    with planted(bug.column, bug.file, bug.applied()) as backend:
        for dtype in ("float64", "float32"):
            for name in cases:
                if found := failure(name, backend, dtype):
                    return found
    return None


def check(bug):
    if bug.column not in d2l_ext.installed():
        pytest.skip(f"{bug.column} is not installed")
    assert report(bug), f"not reported: {bug.id}"


@pytest.mark.parametrize("bug", SAMPLE, ids=lambda bug: bug.id)
def test_a_planted_bug_is_reported(bug):
    check(bug)


@pytest.mark.slow
@pytest.mark.parametrize(
    "bug", [b for b in BUGS + UNSEEN if b not in SAMPLE], ids=lambda bug: bug.id
)
def test_every_planted_bug_is_reported(bug):
    check(bug)


@pytest.mark.parametrize("bug", BUGS + UNSEEN, ids=lambda bug: bug.id)
def test_a_bug_can_still_be_planted(bug):
    assert bug.applied() != bug.path.read_text()


def test_there_are_enough_of_all_kinds():
    assert len(BUGS) >= 60
    assert {bug.column for bug in BUGS} == set(d2l_ext.COLUMNS)
    topics = {"masking", "scoring", "recurrent", "seq2seq", "bahdanau", "multihead", "transformer"}
    for column in d2l_ext.COLUMNS:
        assert {bug.file for bug in BUGS if bug.column == column} >= topics
    assert len({bug.id for bug in BUGS}) == len(BUGS)


def test_planting_leaves_no_trace(backend):
    before = backend.api.masked_softmax
    bug = next(bug for bug in BUGS if bug.column == backend.name and bug.file == "masking")
    with planted(bug.column, bug.file, bug.applied()) as other:
        assert other.api.masked_softmax is not before
    assert d2l_ext.backend(backend.name).api.masked_softmax is before
    assert failure("masking/masked_softmax/all", backend, "float64") is None


def test_a_change_that_changes_nothing_is_not_reported(backend):
    path = next(bug.path for bug in BUGS if bug.column == backend.name and bug.file == "scoring")
    with planted(backend.name, "scoring", path.read_text() + "\n# nothing\n") as same:
        assert failure("scoring/AdditiveAttention/dropout", same, "float64") is None
