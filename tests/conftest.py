"""What all tests share: quiet single-threaded frameworks, Hypothesis profiles, the backends."""

import itertools
import os
import runpy
import sys
import zlib
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

MAPS = 30_000  # pieces of memory of a process; Linux allows 65,530
SELDOM = 10  # so many tests, which added 14,000 at most, have one look at them, of 40 ms
NUMBERS = itertools.count()  # of the tests that have been run
TOKENS = ("test_gpt", "test_generation")
PARTS = 3  # one of so many of TensorFlow's tests through `be` is quick
LONG = ("test_compare", "test_wheel", "test_shapes", "test_spread", "test_reference", "test_export")
PER_GROUP = 1  # tests of a topic in a column that `--quick` keeps


def pytest_addoption(parser):
    parser.addoption("--quick", action="store_true", help="a few tests of each topic and column")


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item):
    """Mark two thirds of TensorFlow's tests that go through `be` as slow; the name says which.

    So with those of language models, of which each feeds many tokens, one by one.
    """
    params = item.callspec.params if hasattr(item, "callspec") else {}
    column = params.get("be")
    if item.path.stem in TOKENS:
        column = params.get("backend", params.get("any_backend", column))
    if column == "tensorflow" and zlib.crc32(item.name.encode()) % PARTS:
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Begin with files whose few tests are long, so that no core waits for the last of them.

    With `--quick`, keep some of the tests over the backends, and nothing else.
    """
    items.sort(key=lambda item: item.path.stem not in LONG)
    if not config.getoption("quick"):
        return
    groups = {}
    for item in items:
        if (key := _topic_and_column(item)) is not None:
            groups.setdefault(key, []).append(item)
    kept = {item for some in groups.values() for item in _spread(some)}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def _topic_and_column(item):
    """Return file, topic of the case if there is one, and column; None where there is no column."""
    params = item.callspec.params if hasattr(item, "callspec") else {}
    column = params.get("backend", params.get("any_backend", params.get("be")))
    if column is None or item.get_closest_marker("slow"):
        return None
    return item.path, str(params.get("name", "")).partition("/")[0], column


def _spread(items):
    """Return the first of some tests and others at equal distances."""
    return items[:: -(-len(items) // PER_GROUP)]


@pytest.fixture(autouse=True)
def room_for_compiled_functions():
    """Let JAX forget its compiled functions before the process has too many pieces of memory.

    XLA maps several for each function, hundreds of tests compile thousands, and the function after
    the last that Linux allows ends the process with a segmentation fault.
    """
    yield
    if next(NUMBERS) % SELDOM or "jax" not in sys.modules:
        return
    if Path("/proc/self/maps").read_bytes().count(b"\n") > MAPS:
        d2l_ext.backend("jax").forget()


def _backend(request):
    name = request.param
    if name != "reference" and name not in d2l_ext.installed():
        pytest.skip(f"{name} is not installed: {d2l_ext.interface.install(name)}")
    backend = d2l_ext.backend(name)
    if name == "tensorflow":
        _do_not_compile()
    return backend


def _do_not_compile():
    """Let TensorFlow run functions as they stand, or, where a test asks for graphs, those.

    The cases in float64 are compiled, and so is what tests start in other processes.
    """
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@pytest.fixture(scope="session", params=d2l_ext.COLUMNS)
def backend(request):
    """Each framework's backend in turn; one that is not installed is skipped."""
    return _backend(request)


@pytest.fixture(scope="session", params=d2l_ext.BACKENDS)
def any_backend(request):
    """Each framework's backend in turn, and the NumPy reference."""
    return _backend(request)


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(name, marks=pytest.mark.slow) if name == "jax" else name
        for name in d2l_ext.BACKENDS
    ],
)
def be(request):
    """As `any_backend`; JAX, which compiles anew for every shape, with the slow tests only.

    TensorFlow, whose small operations take long, has a third of the quick tests. For tests of many
    shapes. What the two compute is in the catalogue's cases as well.
    """
    return _backend(request)
