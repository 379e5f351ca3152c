"""Running notebooks."""

import contextlib
import functools
import os
import subprocess
import tempfile

import nbformat
from nbclient import NotebookClient

# One thread each: the models are tiny, sums keep their order, and two notebooks can run at once.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
}


# Run before each notebook: what the one before has defined is gone, what it has loaded stays.
RESET = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%reset -f")])


@contextlib.contextmanager
def kernel(timeout=600):
    """Start a Python process, in an empty folder, and yield ``run(notebook)``.

    It runs notebooks in place, one after the other, each without the names of the one before, and
    returns them; an error is raised as nbclient's.
    """
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            RESET,
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        with client.setup_kernel(env={**os.environ, **QUIET}, stderr=subprocess.DEVNULL):
            yield functools.partial(_run, client)


def execute(notebook):
    """Run a notebook in place, in a process of its own; an error is raised as nbclient's."""
    with kernel() as run:
        return run(notebook)


def _run(client, notebook):
    client.nb = RESET
    client.execute_cell(RESET.cells[0], 0, store_history=False)
    client.nb = notebook
    client.reset_execution_trackers()
    for index, cell in enumerate(notebook.cells):
        client.execute_cell(cell, index, client.code_cells_executed + 1)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data = {"image/png": output.data["image/png"].strip()}
    return notebook


def write(notebook, path):
    """Write a notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
