"""The cell that installs what a notebook needs where it is opened alone."""

import importlib.util
import subprocess
import sys

import pytest
from packaging.requirements import Requirement

import d2l_ext

if importlib.util.find_spec("nbclient") is None:
    pytest.skip("the book needs the dev extra", allow_module_level=True)

from tools.book import alone
from tools.book.chapter import chapters

NEEDS = {chapter.name: chapter.needs for chapter in chapters()}
EXTRAS = alone.PROJECT["optional-dependencies"]


@pytest.fixture(params=d2l_ext.COLUMNS)
def name(request):
    return request.param


class Machine:
    """Where some modules are missing until pip has installed what has them."""

    def __init__(self, monkeypatch, backend, needs, missing):
        self.bare = alone.BARE.get(backend, {}) | needs.bare
        self.extras = alone.EXTRAS[backend] | needs.extras
        self.missing, self.calls = set(missing), []
        monkeypatch.setattr(importlib.util, "find_spec", self.find)
        monkeypatch.setattr(subprocess, "run", self.run)
        exec(alone.cell(backend, needs), {})

    @property
    def modules(self):
        return {"d2l_ext", *self.extras, *self.bare}

    def find(self, name):
        assert name in self.modules
        return None if name in self.missing else object()

    def run(self, command, check):
        assert check and command[:4] == [sys.executable, "-m", "pip", "install"]
        *options, requirement = [word for word in command[4:] if word[:3] not in ("--q", "--d")]
        self.calls.append((options, requirement))
        if options:
            assert options == ["--no-deps"]
            self.missing -= {name for name, known in self.bare.items() if known == requirement}
        else:
            found = Requirement(requirement)
            assert found.name == "d2l-ext" and found.url.endswith(alone.REPOSITORY)
            assert found.extras <= set(EXTRAS)
            self.missing -= {m for m, extra in self.extras.items() if extra in found.extras}
            self.missing.discard("d2l_ext")


def machine(monkeypatch, backend, needs, missing=None):
    known = {"d2l_ext", *alone.EXTRAS[backend], *needs.extras}
    known |= set(alone.BARE.get(backend, {})) | set(needs.bare)
    with monkeypatch.context() as patch:
        patch.delenv("D2L_EXT", raising=False)
        return Machine(patch, backend, needs, known if missing is None else missing)


@pytest.mark.parametrize("chapter", ["04-bahdanau", "14-images", "15-masked-words"])
def test_all_is_there_afterwards(monkeypatch, capsys, chapter, name):
    found = machine(monkeypatch, name, NEEDS[chapter])
    assert not found.missing
    named = {extra for options, r in found.calls if not options for extra in Requirement(r).extras}
    assert not named & (set(alone.EXTRAS) - {name})  # no other framework
    assert "mxnet" not in named  # with which comes an old NumPy
    assert "installing d2l-ext" in capsys.readouterr().out


def test_where_all_is_there_nothing_happens(monkeypatch, capsys, name):
    for needs in NEEDS.values():
        assert machine(monkeypatch, name, needs, missing=()).calls == []
    assert capsys.readouterr().out == ""


def test_a_framework_that_is_there_stays(monkeypatch, name):
    found = machine(monkeypatch, name, alone.Needs(), missing={"d2l_ext"})
    assert found.calls == [([], f"d2l-ext @ git+{alone.REPOSITORY}")]


def test_each_module_is_asked_for_once(monkeypatch, name):
    """The first of an extra's modules brings the others, and the library."""
    calls = machine(monkeypatch, name, NEEDS["15-masked-words"]).calls
    assert len(calls) == len(set(map(str, calls)))


def test_the_library_may_come_from_elsewhere(monkeypatch):
    monkeypatch.setenv("D2L_EXT", "file:///a.whl")
    called = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: called.append(command[-1]))
    exec(alone.cell("jax", alone.Needs()), {})
    assert called[0] == "d2l-ext[jax] @ file:///a.whl"


def test_every_notebook_begins_with_it(name):
    for chapter in chapters():
        text, cell = chapter.notebook(name).cells[:2]
        assert alone.TITLES[name] in text.source
        assert cell.source == alone.cell(name, chapter.needs)


def test_pinned_as_in_the_environment():
    pins = (alone.ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    bare = [alone.BARE["mxnet"], *(needs.bare for needs in NEEDS.values())]
    assert all(requirement in pins for group in bare for requirement in group.values())
    assert sum(map(len, bare)) == 2


def test_a_launch_link_leads_to_the_notebook_in_the_repository():
    assert alone.launch("jax", "04-bahdanau") == (
        "https://colab.research.google.com/github/d2l_ext/d2l_ext"
        "/blob/main/notebooks/jax/04-bahdanau.ipynb"
    )
