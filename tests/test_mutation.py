"""Random bugs are reported: see `mutation`.

``python tests/test_mutation.py [columns]`` runs all of the sample and prints a table.
"""

import ast
import sys

import pytest
from mutation import CASES, FILES, parsed, sample
from planted import planted
from test_planted import CASES as CATALOGUE
from test_planted import failure

import d2l_ext

NUMBER = 50  # of each column
# Those that no case can report, and why.
EXPLAINED = {}

ALL = sample(NUMBER)
# A few of what is quick to run.
QUICK = [m for m in ALL if m.file in ("masking", "scoring", "positional")]
FEW = [m for column in d2l_ext.COLUMNS for m in QUICK if m.column == column][::3]


def cases(mutation):
    """Return the names of the cases that run a file's code; those of whole models come last."""
    names = [n for start in CASES[mutation.file] for n in CATALOGUE if n.startswith(start)]
    return sorted(dict.fromkeys(names), key=lambda n: CATALOGUE[n].translates)


def report(mutation):
    """Return what the first case that notices says, or None."""
    try:
        with planted(mutation.column, mutation.file, mutation.applied()) as backend:
            return next(
                (found for n in cases(mutation) if (found := failure(n, backend, "float64"))), None
            )
    except Exception as error:  # the column can't even be loaded
        return f"{type(error).__name__}: {error}"


def check(mutation):
    if mutation.column not in d2l_ext.installed():
        pytest.skip(f"{mutation.column} is not installed")
    assert mutation.id in EXPLAINED or report(mutation), f"not reported: {mutation.id}"


@pytest.mark.parametrize("mutation", FEW, ids=lambda m: m.id)
def test_a_random_bug_is_reported(mutation):
    check(mutation)


@pytest.mark.slow
@pytest.mark.parametrize("mutation", [m for m in ALL if m not in FEW], ids=lambda m: m.id)
def test_every_random_bug_of_the_sample_is_reported(mutation):
    check(mutation)


def test_mutations_are_of_all_columns_and_files_and_change_something():
    assert len({m.id for m in ALL}) == len(ALL) == NUMBER * len(d2l_ext.COLUMNS)
    assert {m.file for m in ALL} == set(FILES)
    for mutation in ALL:
        assert mutation.applied() != sample_text(mutation)


def sample_text(mutation):
    """Return the file as it is, written as a mutation is."""
    return ast.unparse(parsed(mutation.column, mutation.file))


def main(columns):
    for mutation in (m for m in ALL if m.column in columns):
        found = report(mutation)
        print(
            "caught  " if found else "SURVIVED", mutation.id, "|", (found or "")[:150], flush=True
        )


if __name__ == "__main__":
    main(sys.argv[1:] or d2l_ext.COLUMNS)
