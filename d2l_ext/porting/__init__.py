"""For other people's models: where a model and its port differ, and why."""

from d2l_ext.porting.locate import locate

__all__ = ["locate"]
