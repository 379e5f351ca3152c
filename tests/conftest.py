"""What all tests share: quiet single-threaded frameworks, Hypothesis profiles, the backends."""

import os

# Read by the frameworks when they load; what is already set stays. Two pytest workers share the
# machine and the models are tiny, so one thread each is fastest, and sums keep their order.
os.environ.update(
    {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TF_NUM_INTRAOP_THREADS": "1",
        "TF_NUM_INTEROP_THREADS": "1",
        # Many small programs, each run a few times: what compiles fast wins.
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=0",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "KERAS_BACKEND": "tensorflow",
        "MPLBACKEND": "agg",
    }
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
