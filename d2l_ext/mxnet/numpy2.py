"""MXNet on the NumPy and the Python of today: what it takes from them and no longer finds.

MXNet 1.9.1, its last release, is from 2022, the time of NumPy 1.22 and Python 3.10. Three things
have changed under it since:

* NumPy has dropped names that MXNet takes from it. MXNet gets a NumPy that still has them; everyone
  else's is as it was before.
* Python 3.12 has dropped ``distutils``, with which MXNet compares versions. setuptools has it.
* NumPy 2 writes a number as ``np.int64(3)``. MXNet hands the parameters of its operators to C++ as
  text, and a shape of such numbers is not one that C++ reads. It gets the text that it knows.
"""

import contextlib
import functools
import importlib.util
import sys
import types

import numpy

# The names, with what they were. (MXNet registers operators under functions: another name for a
# function is a function of its own.) The last ones computed interest, and are listed only.
GONE = {
    "bool": numpy.bool_,
    "Inf": numpy.inf,
    "NAN": numpy.nan,
    "NaN": numpy.nan,
    "NINF": -numpy.inf,
    "NZERO": -0.0,
    "PINF": numpy.inf,
    "PZERO": 0.0,
    "alltrue": functools.partial(numpy.all),
    "compat": types.SimpleNamespace(basestring=str),
    "in1d": lambda X, test, **options: numpy.isin(numpy.ravel(X), test, **options),
    "int": int,
    "msort": lambda X: numpy.sort(X, axis=0),
    "product": functools.partial(numpy.prod),
    "round_": functools.partial(numpy.round),
    "sometrue": functools.partial(numpy.any),
    "trapz": vars(numpy).get("trapezoid"),  # NumPy 1 has the older name
} | dict.fromkeys(("mirr", "npv", "pmt", "ppmt", "pv", "rate"))


@contextlib.contextmanager
def at_hand():
    """Import MXNet in here: it finds what it needs, and NumPy is afterwards as it was."""
    if importlib.util.find_spec("distutils") is None:
        import setuptools  # noqa: F401  # makes its own distutils importable
    lent = {name: value for name, value in GONE.items() if name not in vars(numpy)}
    vars(numpy).update(lent)
    try:
        yield
        _give_numpy_of_its_own()
    finally:
        for name in lent:
            del vars(numpy)[name]
    _write_plain_numbers()


def _give_numpy_of_its_own():
    """Put a copy of NumPy, as it is now, where MXNet's modules have NumPy."""
    copy = types.ModuleType("numpy", numpy.__doc__)
    vars(copy).update(vars(numpy))
    for module in _modules():
        for name, value in list(vars(module).items()):
            if value is numpy:
                setattr(module, name, copy)


def _write_plain_numbers():
    """Let the modules that turn parameters into text write numbers as NumPy 1 did."""
    for module in _modules():
        if module.__name__.endswith((".ndarray", ".symbol")) and "_ctypes" in module.__name__:
            module.str = text


def _modules():
    return [module for name, module in sys.modules.items() if name.partition(".")[0] == "mxnet"]


def text(value):
    """Write a parameter as MXNet reads it: NumPy's numbers, also inside of tuples, as Python's."""
    return str(_plain(value))


def _plain(value):
    if isinstance(value, numpy.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return type(value)(_plain(item) for item in value)
    return value
