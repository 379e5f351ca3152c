"""Environment variables: for processes that compare, and for a number of threads.

Those that compare are quiet, on the CPU, with one thread, and repeatable.

The frameworks, and NumPy, read them when they load. This module imports nothing, so that whoever
sets them can do so first.
"""

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
# For many small programs, each run a few times: the same operations, machine code made in half the
# time.
QUICK = ENVIRONMENT | {
    "XLA_FLAGS": ENVIRONMENT["XLA_FLAGS"] + " --xla_backend_optimization_level=0"
}


def threads(number: int) -> dict[str, str]:
    """Return what makes a framework compute with so many threads, each in its own way.

    PyTorch and MXNet read OpenMP's variable, MXNet a limit of its own too, TensorFlow two of its
    own, and XLA, below JAX, takes so many processors to be there.
    """
    openmp = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    own = ("MXNET_OMP_MAX_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "NPROC")
    return dict.fromkeys((*openmp, *own), str(number))
