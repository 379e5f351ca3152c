"""D2L's own package, as a peer to compare with."""

import importlib.util
import sys
import types

import pytest

# d2l.torch imports these at its top and uses them in other chapters only.
UNUSED = ("pandas", "torchvision", "torchvision.transforms")


@pytest.fixture(scope="session")
def d2l_torch():
    """`d2l.torch`, with empty modules in place of what it imports, does not need and is absent."""
    pytest.importorskip("torch")
    pytest.importorskip("d2l")
    with pytest.MonkeyPatch.context() as patch:
        stubs = {name: types.ModuleType(name) for name in UNUSED if not _is_there(name)}
        for name, stub in stubs.items():
            patch.setitem(sys.modules, name, stub)
            if "." in name:
                parent, _, child = name.rpartition(".")
                setattr(stubs[parent], child, stub)
        from d2l import torch as module
    return module


def _is_there(name):
    top = name.partition(".")[0]
    return top in sys.modules or importlib.util.find_spec(top) is not None
