"""For other people's models: where a model and its port differ, and why.

`locate` runs both, `probe` looks into them, `backward` compares their gradients, `reduced` judges
a port in bfloat16 or float16, and `known` has the differences that are tried. `trace` writes what a
model computes to a file, and `traces` compares two.
"""

from d2l_ext.porting.locate import locate, parameters
from d2l_ext.porting.pairing import propose
from d2l_ext.porting.trace import trace
from d2l_ext.porting.traces import locate_traces

__all__ = ["locate", "locate_traces", "parameters", "propose", "trace"]
