"""Linear layers of a training step, computed by the faster of PyTorch's two libraries.

On a CPU, PyTorch multiplies matrices in float32 by MKL, which leaves AVX-512 alone on processors
that are not Intel's; oneDNN, which PyTorch has too, does not, and is twice as fast there. Linear
layers of a step use it, whatever module they are in; the modules stay as the book has them.
"""

import contextlib
from collections.abc import Iterable
from pathlib import Path

import torch
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from d2l_ext.torch.layers import Array

CPUINFO = Path("/proc/cpuinfo")
# Below these sizes the copies into and out of oneDNN's layout cost more than the product gains.
ROWS, SIZE = 64, 2**16  # of x; numbers in the weight


def pays() -> bool:
    """Whether MKL would leave AVX-512 alone here, and oneDNN would not."""
    return (
        torch.backends.mkldnn.is_available()
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and CPUINFO.exists()
        and "GenuineIntel" not in CPUINFO.read_text()
    )


class OneDNN(TorchFunctionMode):
    """While it is on, large linear layers in float32 are computed by oneDNN.

    Their outputs have a derivative, but no second one.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        """Do what was called, a linear layer in its own way."""
        if func is F.linear and not kwargs and _large(*args):
            x, *parameters = args
            return F.linear(x.to_mkldnn(), *parameters).to_dense()
        return func(*args, **kwargs or {})


def _large(x, weight, bias=None):
    rows = x.numel() // x.shape[-1] if x.shape[-1] else 0
    return (
        x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and rows >= ROWS
        and weight.numel() >= SIZE
    )


def fast(params: Iterable[Array]) -> contextlib.AbstractContextManager:
    """Return the context for a model's step: `OneDNN` where that pays for any parameter."""
    large = any(p.dtype == torch.float32 and p.numel() >= SIZE for p in params)
    return OneDNN() if large and pays() else contextlib.nullcontext()
