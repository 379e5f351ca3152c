"""Whether the four frameworks agree: cases, budgets, workers, the training run, the report."""

from d2l_ext.agreement.locate import locate

__all__ = ["locate"]
