"""For other people's models: where a model and its port differ, and why.

`locate` runs both, `probe` looks into them, and `known` has the differences that are tried.
"""

from d2l_ext.porting.locate import locate, parameters
from d2l_ext.porting.pairing import propose

__all__ = ["locate", "parameters", "propose"]
