"""Environment variables: for processes that compare, and for a number of threads.

Those that compare are quiet, on the CPU, with one thread, and repeatable.

The frameworks, and NumPy, read them when they load. This module loads neither, so that whoever sets
them can do so first.
"""

import importlib.metadata
import os
from pathlib import Path

# One thread each: processes share the cores, the models are tiny, and sums keep their order.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
}


def _quick_flags() -> str:
    """Make machine code by fewer passes, in one piece and, where JAX has the option, unfused."""
    flags = [
        ENVIRONMENT["XLA_FLAGS"],
        "--xla_backend_optimization_level=0",
        "--xla_llvm_disable_expensive_passes=true",
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
    try:
        jaxlib = importlib.metadata.version("jaxlib")
    except importlib.metadata.PackageNotFoundError:
        jaxlib = "0"
    # An option that XLA does not know ends the process.
    if (0, 7) <= tuple(map(int, jaxlib.split(".")[:2])) < (0, 11):
        flags.append("--xla_cpu_use_fusion_emitters=false")
    return " ".join(flags)


# For many small programs, each run a few times: the same operations, machine code made in less
# time, with JAX 0.7 to 0.10 in a third of it.
QUICK = ENVIRONMENT | {"XLA_FLAGS": _quick_flags()}


def importable() -> dict[str, str]:
    """Return what lets another process import this package too, from wherever it was started."""
    folder = str(Path(__file__).resolve().parents[1])
    return {"PYTHONPATH": os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))}


def threads(number: int) -> dict[str, str]:
    """Return what makes a framework compute with so many threads, each in its own way.

    PyTorch and MXNet read OpenMP's variable, MXNet a limit of its own too, TensorFlow two of its
    own, and XLA, below JAX, takes so many processors to be there.
    """
    openmp = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    own = ("MXNET_OMP_MAX_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")
    return dict.fromkeys((*openmp, *own), str(number))
