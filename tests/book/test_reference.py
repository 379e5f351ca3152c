"""The reference has every public name."""

import importlib
import importlib.util
import inspect
import posixpath

import pytest

import d2l_ext

if importlib.util.find_spec("sphinx") is None:
    pytest.skip("the book needs the dev extra", allow_module_level=True)

from click.testing import CliRunner
from sphinx.util.inventory import InventoryFile

from d2l_ext import interface
from d2l_ext.cli import COMMANDS, main
from tools.book import page, reference

pytestmark = pytest.mark.skipif("torch" not in d2l_ext.installed(), reason="shows PyTorch's column")


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The folder of a page that is the reference alone."""
    source = tmp_path_factory.mktemp("source")
    page.write_reference(source)
    (source / "index.md").write_text("# Index\n\n```{toctree}\nreference/index\n```\n")
    page.run_sphinx(source, source / "html")
    return source / "html"


@pytest.fixture(scope="module")
def described(html):
    """Full names of all that is described."""
    with open(html / "objects.inv", "rb") as file:
        inventory = InventoryFile.load(file, "", posixpath.join)
    kinds = ("py:class", "py:function", "py:method", "py:property", "py:exception")
    return {name for kind in kinds for name in inventory[kind]}


def test_every_name_of_a_column_is_described(described, any_backend):
    assert not {f"{reference.COLUMN}.{name}" for name in any_backend.api.__all__} - described


def test_every_method_of_the_interface_is_described(described):
    classes = [getattr(interface, name.rpartition(".")[2]) for name in reference.public(interface)]
    wanted = {
        f"{cls.__module__}.{cls.__name__}.{name}"
        for cls in classes
        if inspect.isclass(cls)
        for name, value in vars(cls).items()
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    }
    assert len(wanted) > 20
    assert not wanted - described


@pytest.mark.parametrize("name", reference.WHOLE)
def test_every_public_function_is_described(described, name):
    modules = [importlib.import_module(module) for module in reference.modules(name)]
    wanted = {name for module in modules for name in reference.public(module)}
    assert wanted
    assert not wanted - described


def test_every_option_of_every_command_is_there(html):
    text = (html / "reference/commands.html").read_text()
    for name in COMMANDS:
        output = CliRunner().invoke(main, [name, "--help"]).output
        options = {word for word in output.split() if word.startswith("--") and word[2:].isalpha()}
        assert options
        assert all(option in text for option in options)
