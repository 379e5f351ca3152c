"""Batches cut into shares, and the dropout masks with them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from d2l_ext.parallel.shares import cut, cut_masks, rows_of

ROWS, SHARES = st.integers(0, 40), st.integers(1, 9)


@given(ROWS, SHARES)
def test_shares_are_the_batch_in_order_and_differ_by_a_row_at_most(num_rows, num_shares):
    shares = [range(num_rows)[rows_of(num_rows, n, num_shares)] for n in range(num_shares)]
    assert [row for share in shares for row in share] == list(range(num_rows))
    sizes = [len(share) for share in shares]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


def test_coins_of_teacher_forcing_are_for_all_rows():
    coins = np.array([True, False, True])  # as many as rows: told by their dtype alone
    inputs, lens, kept, labels = cut([np.ones((3, 4)), np.arange(3), coins, np.eye(3)], slice(1, 3))
    assert inputs.shape == (2, 4)
    assert lens.tolist() == [1, 2]
    assert kept is coins
    assert labels.shape == (2, 3)


@given(st.integers(1, 7), st.integers(2, 5), st.integers(1, 3), st.integers(0, 2))
def test_masks_are_cut_where_the_batch_is(num_rows, num_shares, heads, axis):
    whole = [2, 3, 5]
    whole[axis] = num_rows * heads
    mask = np.arange(np.prod(whole)).reshape(whole)
    found = []
    for number in range(num_shares):
        rows = rows_of(num_rows, number, num_shares)
        if rows.start == rows.stop:
            continue
        part = list(whole)
        part[axis] = (rows.stop - rows.start) * heads
        masks, layers = {"a": mask}, [{"a": (0.1, tuple(x))} for x in (whole, part)]
        found.append(cut_masks(masks, *layers, rows, num_rows)["a"])
        assert found[-1].shape == tuple(part)
    np.testing.assert_array_equal(np.concatenate(found, axis), mask)


def test_a_mask_without_an_axis_for_the_batch_is_an_error():
    layers = {"drop": (0.5, (3, 4))}
    with pytest.raises(ValueError, match=r"drop: got a mask \(3, 4\), must have one axis"):
        cut_masks({"drop": np.ones((3, 4))}, layers, layers, slice(0, 1), 2)
