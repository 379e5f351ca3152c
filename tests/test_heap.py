"""Freed memory is kept for the next step, unless the environment chose otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from d2l_ext import heap

CODE = """
import importlib, resource, sys
import numpy as np
if sys.argv[1]:
    importlib.import_module(sys.argv[1])

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**23)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
print(min(faults() for _ in range(5)))
"""
FEW = 10  # page faults; 64 MiB are 16384 pages, or 32 huge ones
GLIBC = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")


def faults(column, **environment):
    """Return how many page faults an array of 64 MiB costs that has been there before."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(heap.CHOSEN)}
    command = [sys.executable, "-c", CODE, column]
    done = subprocess.run(
        command, env=clean | environment, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@GLIBC
@pytest.mark.parametrize("column", ["torch", "mxnet"])
def test_a_columns_memory_is_kept(column):
    assert faults(f"d2l_ext.{column}") < FEW < faults("")


@GLIBC
@pytest.mark.parametrize("chosen", [{"MALLOC_MMAP_MAX_": "65536"}, {"GLIBC_TUNABLES": ""}])
def test_the_environment_has_the_last_word(chosen):
    assert faults("d2l_ext.torch", **chosen) > FEW


def test_elsewhere_nothing_happens(monkeypatch):
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    heap.keep()
