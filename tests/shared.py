"""What several test modules make: a case with its answer, a model of an encoder and a decoder."""

import functools

import pytest

import d2l_ext
from d2l_ext.agreement.cases import corners, generated
from d2l_ext.agreement.cases.catalogue import catalogue
from d2l_ext.agreement.judging.budget import DTYPES
from d2l_ext.agreement.judging.solved import SolvedCase
from d2l_ext.agreement.judging.verdict import verdicts

CATALOGUE = catalogue()


def frameworks(*slow):
    """Return the frameworks as parameters, some of them with the slow tests only."""
    marks = {name: [pytest.mark.slow] for name in slow}
    return [pytest.param(name, marks=marks.get(name, [])) for name in d2l_ext.COLUMNS]


@functools.lru_cache(maxsize=512)
def solved(name):
    """Return a case of the catalogue, or a generated one or a corner, with its exact answer."""
    if name in CATALOGUE:
        return SolvedCase(CATALOGUE[name])
    made = corners.corner if name.startswith(f"{corners.ROOT}/") else generated.case
    return SolvedCase(made(name))


def failures(name, backend, dtypes=DTYPES):
    """Return what a case says that a backend fails."""
    found = [v for dtype in dtypes for v in verdicts(solved(name), backend, dtype)]
    assert found
    return [str(v) for v in found if not v.agrees]


def encoder_decoder(api, encoder, decoder, vocab_sizes, *sizes, **options):
    """Return an `EncoderDecoder` of a column's classes, both with the same arguments."""
    return api.EncoderDecoder(
        getattr(api, encoder)(vocab_sizes[0], *sizes, **options),
        getattr(api, decoder)(vocab_sizes[1], *sizes, **options),
    )
