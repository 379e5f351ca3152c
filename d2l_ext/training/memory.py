"""Whether a model can be in memory, before it is built."""

import os

from d2l_ext.training.settings import TRANSLATORS, Settings

COPIES = 4  # parameters, gradients and the optimiser's two moments
GATES = 3  # of a GRU


def check_memory(settings: Settings, vocab_size: int) -> None:
    """Raise a ValueError where a training run cannot fit into the machine's memory.

    Args:
        settings: of the run.
        vocab_size: tokens of all vocabularies together; 0 for images.
    """
    bytes_of = {"float32": 4, "float64": 8}[settings.dtype]
    needed = COPIES * bytes_of * smallest_size(settings, vocab_size)
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise ValueError(
            f"sizes: a model of num_hiddens={settings.num_hiddens},"
            f" num_layers={settings.num_layers} needs at least {needed / 2**30:,.0f} GiB of memory,"
            f" the machine has {there / 2**30:,.0f}"
        )


def smallest_size(settings: Settings, vocab_size: int) -> int:
    """Return a number of parameters that a model has at least."""
    s, h = settings, settings.num_hiddens
    if s.model in TRANSLATORS and s.model != "transformer":  # W_hh of each layer, and W_ih but one
        layers = GATES * h * h * (2 * s.num_layers - 1)
        return layers + vocab_size * s.embed_size
    networks = max(s.num_experts, 1) if s.model == "gpt" else 1
    return s.num_layers * (2 * h * h + 2 * networks * h * s.ffn_num_hiddens) + vocab_size * h
