"""Running notebooks."""

import contextlib
import functools
import os
import subprocess
import tempfile

import nbformat
from nbclient import NotebookClient

from d2l_ext.environment import ENVIRONMENT, QUICK
from tools.book.chapter import running


@contextlib.contextmanager
def kernel(quick=False, timeout=600):
    """Start a Python process, in an empty folder, and yield ``run(notebook)``.

    It runs notebooks in place, one after the other, each without the names of the one before, and
    returns them; an error is raised as nbclient's.

    Args:
        quick: compile fast instead of well, which pays where nothing runs for long.
        timeout: seconds that a cell may take.
    """
    environment = os.environ | (QUICK if quick else ENVIRONMENT)
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            nbformat.v4.new_notebook(),
            timeout=timeout,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            resources={"metadata": {"path": folder}},
        )
        with client.setup_kernel(env=environment, stderr=subprocess.DEVNULL):
            yield functools.partial(_run, client)


def execute(notebook, quick=False):
    """Run a notebook in place, in a process of its own; an error is raised as nbclient's."""
    with kernel(quick) as run:
        return run(notebook)


def _run(client, notebook):
    # What the notebook before has defined goes, what it has loaded stays.
    reset = nbformat.v4.new_code_cell("%reset -f")
    client.nb = nbformat.v4.new_notebook(cells=[reset])
    client.execute_cell(reset, 0, store_history=False)
    client.nb = notebook
    client.reset_execution_trackers()
    run = {cell.id for cell in running(notebook)}
    for index, cell in enumerate(notebook.cells):
        if cell.id in run:
            client.execute_cell(cell, index, client.code_cells_executed + 1)
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/svg+xml" in output.get("data", {}):
                output.data = {"image/svg+xml": output.data["image/svg+xml"]}
    return notebook


def write(notebook, path):
    """Write a notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)
