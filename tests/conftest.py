"""What all tests share: quiet single-threaded frameworks, Hypothesis profiles, the backends."""

import os
import runpy
from pathlib import Path

# Read by NumPy and the frameworks when they load, so before the package, which loads NumPy; what is
# already set stays.
os.environ.update(
    runpy.run_path(str(Path(__file__).parents[1] / "d2l_ext" / "environment.py"))["QUICK"]
    | {"MPLBACKEND": "agg"}
    | dict(os.environ)
)

import pytest
from hypothesis import settings

import d2l_ext

# `make test` is a fixed sample; `make test-all` draws new examples.
settings.register_profile("fixed", deadline=None, derandomize=True, database=None)
settings.register_profile("explore", deadline=None, print_blob=True)
settings.load_profile("fixed")


def _backend(name):
    if name != "reference" and name not in d2l_ext.installed():
        pytest.skip(f"{name} is not installed: pip install 'd2l-ext[{name}]'")
    return d2l_ext.backend(name)


@pytest.fixture(scope="session", params=d2l_ext.COLUMNS)
def backend(request):
    """Each framework's backend in turn; one that is not installed is skipped."""
    return _backend(request.param)


@pytest.fixture(scope="session", params=d2l_ext.BACKENDS)
def any_backend(request):
    """Each framework's backend in turn, and the NumPy reference."""
    return _backend(request.param)
