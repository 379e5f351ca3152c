"""What a column sums in half precision is reported."""

import numpy as np
import pytest
from planted import planted
from shared import CATALOGUE, failures

import d2l_ext
from d2l_ext.agreement.cases.half import TABLES
from d2l_ext.agreement.running import half

COLUMNS = [n for n in d2l_ext.COLUMNS if half.HALF in d2l_ext.backend(n).dtypes]
# The mistake, and a case that reports it.
MISTAKES = {
    "scoring": "scoring/CosineAttention/all",
    "seq2seq": "seq2seq/masked_loss/pad",
    "linear": "linear/LinearAttention/parallel",
}


def test_every_class_and_function_is_looked_at():
    names = {case.subject for case in CATALOGUE.values()}
    halved = {case.subject for case in CATALOGUE.values() if case.half is not None}
    assert names - halved == set(TABLES)


@pytest.mark.parametrize("file", MISTAKES)
@pytest.mark.parametrize("column", COLUMNS)
def test_a_sum_that_is_not_wide_is_reported(column, file):
    with open(f"{d2l_ext.__path__[0]}/{column}/{file}.py") as opened:
        text = opened.read()
    narrow = text.replace("widened(", "(")
    assert narrow != text
    with planted(column, file, narrow) as backend:
        found = failures(MISTAKES[file], backend, ["float32"])
    assert any("half precision outputs" in failure for failure in found), found


def test_another_dtype_is_named():
    class Wide:
        dtypes = (half.HALF,)

        class api:
            @staticmethod
            def causal_mask(x):
                return x

        def array(self, x):
            return x

        def numpy(self, x):
            return np.float32(x)

    job = CATALOGUE["scoring/attention/all"].job(0)
    job.target = {"function": "causal_mask", "options": {}}
    job.half = (np.float32([1.5]),)
    assert half.differing(Wide(), job) == ["0 is float32, must be float16"]
