"""Run the sample of the catalogue in one column, with every annotation of it checked.

In a process of its own (`columns/test_shapes.py`), for jaxtyping's import hook decorates a column's
functions while they are imported: beartype checks arguments and results, and within one call axes
of one name must have one size.
"""

import importlib
import json
from pathlib import Path
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

import d2l_ext

FOLDER = Path(d2l_ext.__file__).parent
# What is behind the common interface; what MXNet needs to start.
WITHOUT_SHAPES = {"__init__", "backend", "hooks", "defaults", "numpy2", "parallel"}
INTEGERS_ARE_FLOATS = BeartypeConf(is_pep484_tower=True)  # dropout=0

annotated, called = set(), set()


def rows(column):
    """Return the names of a column's files that have shapes in their signatures."""
    return sorted({path.stem for path in (FOLDER / column).glob("*.py")} - WITHOUT_SHAPES)


def hook(column):
    """Return a context manager, in which the column's files are to be imported."""
    modules = [f"d2l_ext.{column}.{row}" for row in rows(column)]
    return install_import_hook(modules, "shapes.checker")


def checker(function):
    """Check a function's annotations; as the hook calls it for every function.

    The hook gives it a stand-in with the function's name and signature, in which Any is what has no
    annotation, and calls that first.
    """
    checked = beartype(conf=INTEGERS_ARE_FLOATS)(function)
    name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"
    if not is_public(name) or set(function.__annotations__.values()) <= {Any}:
        return checked
    annotated.add(name)

    def noted(*args, **kwargs):
        called.add(name)
        return checked(*args, **kwargs)

    return noted


def is_public(name):
    """Whether a qualified name is that of a function or method that other files may call."""
    *owners, last = name.split(".")
    public = last in ("__init__", "__call__") or not last.startswith("_")
    return public and "<locals>" not in owners


def perform_sample(column, dtype):
    """Perform the sample's cases; returns ``{case: error}`` of those that failed."""
    # They load the reference, which may be the column, so not before the hook.
    from d2l_ext.agreement.cases.catalogue import sample
    from d2l_ext.agreement.running.perform import perform

    errors = {}
    for name, case in sample().items():
        job = case.job(0)
        job.steps = None  # they call what the gradients call, compiled once more
        try:
            perform(d2l_ext.backend(column), job, dtype)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
    return errors


def report(column, dtype):
    """Print as JSON what has annotations, what of it was called, and what failed."""
    with hook(column):
        for row in rows(column):
            importlib.import_module(f"d2l_ext.{column}.{row}")
    errors = perform_sample(column, dtype)
    print(json.dumps({"annotated": sorted(annotated), "called": sorted(called), "errors": errors}))
