"""Constructor arguments kept as data, so that a module can be built again elsewhere.

A checkpoint, a worker process and a notebook all rebuild a module from its class name and its
configuration: ``build(api, describe(module))`` is a new module of the same shape, in any column.
"""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any


class Configured:
    """Mixin that records the constructor arguments of every subclass in ``.config``."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Wrap the subclass's own constructor, if it has one."""
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            cls.__init__ = _recording(cls.__init__)


def _recording(init: Callable[..., None]) -> Callable[..., None]:
    signature = inspect.signature(init)

    @functools.wraps(init)
    def recording_init(self, *args, **kwargs):
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        init(self, *args, **kwargs)
        # After `init`, so that the outermost constructor of a class hierarchy wins; past the
        # frameworks' own __setattr__, which would register modules found in the values twice.
        object.__setattr__(self, "config", dict(list(bound.arguments.items())[1:]))

    # Keras looks at it without following wrappers.
    vars(recording_init)["__signature__"] = signature
    return recording_init


def describe(module: Any) -> dict[str, Any]:
    """Return ``{"class": name, "config": arguments}``, arguments that are modules described too."""
    config = {
        name: describe(value) if hasattr(value, "config") else value
        for name, value in module.config.items()
    }
    return {"class": type(module).__name__, "config": config}


def build(api: ModuleType, description: dict[str, Any]) -> Any:
    """Build the described module from a column's classes.

    Raises:
        ValueError: the column has no such class, or its constructor does not take the arguments.
    """
    name = description["class"]
    cls = getattr(api, name) if name in api.__all__ else None
    if not isinstance(cls, type):
        raise ValueError(f"class: got {name!r}, which is no class of {api.__name__}")

    def argument(value: Any) -> Any:
        if isinstance(value, dict) and "class" in value:
            return build(api, value)
        return tuple(value) if isinstance(value, list) else value  # JSON has no tuples

    arguments = {key: argument(value) for key, value in description["config"].items()}
    try:
        return cls(**arguments)
    except TypeError as error:
        raise ValueError(f"config: {name} does not take {arguments}: {error}") from error
