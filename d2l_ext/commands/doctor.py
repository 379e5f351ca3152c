"""``d2l-ext doctor``: which frameworks work here, and how to mend what does not."""

import dataclasses
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence

import click

from d2l_ext import interface

# Attention over two keys in a process of its own: what crashes there does no harm here.
PROBE = """
import numpy as np, d2l_ext
be = d2l_ext.backend({name!r})
q, k = np.ones((1, 1, 2), "float32"), np.ones((1, 2, 2), "float32")
model = be.model(be.api.DotProductAttention(0), q, k, k)
assert np.allclose(model(q, k, k), 1), "wrong result"
print("version:" + be.version)
"""
PACKAGES = {
    "torch": ("torch",),
    "mxnet": ("mxnet",),
    "jax": ("jax", "jaxlib", "flax"),
    "tensorflow": ("tensorflow", "tensorflow-cpu", "keras"),
}


@click.command()
def doctor() -> None:
    """Check which frameworks work here, and say how to mend what does not."""
    healthy = True
    for finding in examine():
        healthy &= finding.ok
        click.echo(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.text}")
        if finding.mend:
            click.echo(f"      {finding.mend}")
    sys.exit(0 if healthy else 1)


@dataclasses.dataclass
class Finding:
    """One thing that was looked at: whether it is right, what it is, and how to mend it."""

    ok: bool
    text: str
    mend: str = ""


def examine() -> Iterator[Finding]:
    """Yield a `Finding` for each thing that can be wrong."""
    yield _python()
    yield Finding(True, f"numpy {_version('numpy')}")
    installed = interface.installed()
    for name in interface.COLUMNS:
        if name in installed:
            yield _framework(name)
        else:
            yield Finding(True, f"{name}: not installed", interface.install(name))
    if not installed:
        yield Finding(False, "no framework is installed", "pip install 'd2l-ext[all]'")
    yield from _conflicts(installed)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _python() -> Finding:
    version = platform.python_version()
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Finding(True, f"Python {version}, {platform.system()} {platform.machine()}")
    return Finding(False, f"Python {version} is not supported", "use Python 3.11, 3.12 or 3.13")


def _framework(name: str) -> Finding:
    versions = ", ".join(f"{p} {_version(p)}" for p in PACKAGES[name] if _version(p))
    try:
        result = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", PROBE.format(name=name)],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding(False, f"{name}: {versions}: hangs when it is loaded", _reinstall(name))
    if result.returncode == 0:
        return Finding(True, f"{name}: {versions}")
    lines = result.stderr.strip().splitlines() or [f"exit status {result.returncode}"]
    return Finding(False, f"{name}: {versions}: {lines[-1]}", _reinstall(name))


def _reinstall(name: str) -> str:
    return interface.install(name).replace("pip install", "pip install --force-reinstall")


def _conflicts(installed: Sequence[str]) -> Iterator[Finding]:
    """Yield what is known to make frameworks fail, if it is so here."""
    numpy_major = int((_version("numpy") or "0").split(".")[0])
    if "mxnet" in installed and importlib.util.find_spec("distutils") is None:
        yield Finding(False, "MXNet imports distutils, which is gone", "pip install setuptools")
    jax = tuple(int(part) for part in (_version("jax") or "0").split(".")[:2])
    if "jax" in installed and jax >= (0, 8) and numpy_major < 2:
        yield Finding(
            False,
            f"jax {_version('jax')} with numpy {_version('numpy')}: JAX from 0.8 wants numpy 2",
            "pip install 'numpy>=2' (MXNet works with it) or 'jax==0.7.1'",
        )
    keras = os.environ.get("KERAS_BACKEND", "tensorflow")
    if "tensorflow" in installed and keras != "tensorflow":
        yield Finding(
            False,
            f"KERAS_BACKEND is {keras!r}: the TensorFlow column needs Keras on TensorFlow",
            "unset KERAS_BACKEND",
        )
    if os.environ.get("TF_USE_LEGACY_KERAS", "0") not in ("0", "", "False", "false"):
        yield Finding(
            False, "TF_USE_LEGACY_KERAS is set: Keras 3 is needed", "unset TF_USE_LEGACY_KERAS"
        )
