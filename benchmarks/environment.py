"""The second environment, in which D2L's JAX and TensorFlow parts run."""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / ".venv-d2l"
REQUIREMENTS = Path(__file__).with_name("requirements-d2l.txt")
D2L = "d2l==1.0.3"  # it pins old versions of everything, so it comes without its dependencies


def python(who, framework):
    """Return the interpreter that runs a subject; the second environment is made if needed."""
    old = who == "d2l" and framework in ("jax", "tensorflow")
    return str(_make()) if old else sys.executable


def _make():
    interpreter, stamp = FOLDER / "bin" / "python", FOLDER / ".installed"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"installing old versions for D2L's own code in {FOLDER.name}: some minutes")
        stamp.unlink(missing_ok=True)
        # The interpreter that the current environment was made from, or itself if it is none.
        base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
        _run(str(base), "-m", "venv", "--clear", str(FOLDER))
        pip = str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"
        _run(*pip, "--requirement", str(REQUIREMENTS))
        _run(*pip, "--no-deps", D2L)
        stamp.write_text(wanted)
    return interpreter


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
