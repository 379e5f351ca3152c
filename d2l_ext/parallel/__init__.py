"""One training run on several processes: what no framework is needed for.

Every process has the whole model and takes its share of every batch. The sums of the losses and of
their gradients and the number of real tokens are added up over all processes by the framework's own
engine (``parallel.py`` in each column), divided once, and followed by a step that is the same
everywhere.
"""

from d2l_ext.parallel.group import Group, GroupError

__all__ = ["Group", "GroupError"]
