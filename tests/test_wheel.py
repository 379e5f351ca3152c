"""The wheel, installed in an environment of its own and used outside of the repository."""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import d2l_ext
from tools.wheel import build


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def run(wheel, tmp_path_factory):
    """Return a function that runs ``d2l-ext`` from the wheel, in an empty folder.

    What the wheel depends on is taken from this environment, so that the test needs no network.
    """
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "env")
    scripts, site = (
        Path(sysconfig.get_path(name, "venv", {"base": str(folder / "env")}))
        for name in ("scripts", "purelib")
    )
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--quiet"]
    subprocess.run([*pip, "--no-deps", "--disable-pip-version-check", wheel], check=True)

    def run(*arguments):
        command = [scripts / "d2l-ext", *map(str, arguments)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_only_what_a_user_needs_is_in_it(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names} == {
        "d2l_ext",
        f"d2l_ext-{d2l_ext.__version__}.dist-info",
    }
    needed = ("d2l_ext/data/corpus.tsv", "budgets.json", "d2l_ext/py.typed", "/licenses/LICENSE")
    assert all(any(name.endswith(end) for name in names) for end in needed)
    assert not [name for name in names if "/book/" in name or "/grammar/" in name]


def test_it_trains_and_translates_in_another_framework(run):
    first, other = d2l_ext.installed()[0], d2l_ext.installed()[-1]
    size = "--max-pairs 100 --min-freq 1 --epochs 1 --num-hiddens 8 --embed-size 8 --num-layers 1"
    run("train", "--out", "run", "--backend", first, *size.split())
    assert run("translate", "run/best.safetensors", "We are here.", "--backend", other).strip()


@pytest.mark.slow
def test_it_compares_and_finds_what_works(run):
    names = d2l_ext.installed()[:2]
    examined = run("doctor")
    assert all(f"ok    {name}: " in examined for name in names)
    small = ("--cases", "masking/", "--train", "none", "--dtype", "float32")
    assert "agreed: " + ", ".join(names) in run("compare", *small, "--backends", ",".join(names))
