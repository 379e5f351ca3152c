"""Attention from *Dive into Deep Learning* in four frameworks behind one interface.

Importing this package loads no framework. A column is imported by name
(``from d2l_ext import jax``), or through the common interface::

    import d2l_ext

    be = d2l_ext.backend("torch")
    be.api.AdditiveAttention  # is d2l_ext.torch.AdditiveAttention
"""

from d2l_ext.interface import BACKENDS, COLUMNS, backend, installed

__all__ = ["BACKENDS", "COLUMNS", "backend", "installed"]
__version__ = "0.1.0"
