"""Runs that take a second: their settings, and what they say to nobody."""

SMALL = {
    "max_pairs": 90,
    "min_freq": 1,
    "embed_size": 8,
    "num_hiddens": 8,
    "num_layers": 1,
    "val_fraction": 0.1,
    "test_fraction": 0.1,
    "batch_size": 24,  # three steps an epoch
    "buckets": (16,),
    "epochs": 2,
    "save_every": 0,
}


def quiet(line):
    """Report nothing."""
