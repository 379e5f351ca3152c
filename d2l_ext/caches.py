"""How caches grow whose room is reserved, in the columns that fill them in place."""


def room(sizes, wanted, least=0):
    """Return how large caches must become that have to hold ``wanted`` steps; None if all are.

    One that must grow at least doubles, so that growing is rare, and gets the size ``least`` at
    least.
    """
    if all(wanted <= size for size in sizes):
        return None
    return max(wanted, least, *(2 * size for size in sizes))
