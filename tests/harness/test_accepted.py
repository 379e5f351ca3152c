"""What a column takes though the reference refuses it is reported."""

import numpy as np
import pytest
from planted import planted
from shared import failures

import d2l_ext
from d2l_ext.agreement.running.accepted import accepted

LENS, X = np.array([2, 3]), np.ones((2, 4), np.float32)


def test_numbers_that_are_taken_are_named():
    def call(X, lens, state, offset):
        if lens.max() > 4:
            raise ValueError("lens: too long")

    found = accepted(call, (X, LENS, [LENS], np.array(3)))
    assert found == ["argument 1 with -1"]
    np.testing.assert_array_equal(LENS, [2, 3])


def test_other_errors_are_not_hidden():
    def call(lens):
        raise IndexError(lens)

    with pytest.raises(IndexError):
        accepted(call, (LENS,))


@pytest.mark.parametrize("column", d2l_ext.COLUMNS)
def test_a_missing_check_is_reported(column):
    path = d2l_ext.__path__[0] + f"/{column}/masking.py"
    with open(path) as file:
        text = file.read()
    check = "    checks.masks(shape, spec(valid_lens), spec(mask))\n"
    assert text.count(check) == 1
    with planted(column, "masking", text.replace(check, "    return\n")) as backend:
        found = failures("masking/masked_softmax/lengths", backend, ["float32"])
    assert any("accepted inputs" in failure for failure in found), found
