"""Nothing is read that nobody has written: room in a cache that is not filled, say.

What stands there is what the memory held before, mostly numbers that a weight of zero makes zero,
and now and then NaN, which it does not. PyTorch can fill such memory with NaN.
"""

import pytest
from shared import CATALOGUE, failures

import d2l_ext

torch = pytest.importorskip("torch")
DECODING = [case.name for case in CATALOGUE.values() if case.translates]


@pytest.fixture
def unwritten_is_nan():
    assert torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("name", DECODING)
def test_pytorch_decodes_from_what_was_written(unwritten_is_nan, name):
    assert torch.empty(3).isnan().all()
    assert not failures(name, d2l_ext.backend("torch"), ["float32"])
