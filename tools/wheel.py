"""Build the wheel from a copy of the sources: a build leaves files that the next one would take."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "d2l_ext")


def build(folder):
    """Build the wheel into a folder; return its path."""
    with tempfile.TemporaryDirectory() as copy:
        for name in SOURCES:
            source, target = ROOT / name, Path(copy, name)
            if source.is_dir():
                shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, target)
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", folder, copy]
        subprocess.run(command, check=True)
    return max(Path(folder).glob("d2l_ext-*.whl"), key=lambda path: path.stat().st_mtime)
