"""Pictures of chapter 16: shares of a batch, sums around a ring, and what a step takes.

A function's docstring is the picture's alternative text.
"""

from tools.book.diagrams.drawing import Drawing


def data_parallel() -> Drawing:
    """A batch of four sentences is cut into two shares. Each of two processes, with the same
    model, adds up the gradients of its tokens. Both sums and both numbers of tokens meet, are
    added and divided, and the same step is done by both.
    """
    d = Drawing(456, 200)
    for share, (tokens, sizes) in enumerate(((10, (5, 5)), (3, (1, 2)))):
        y = 26 + 92 * share
        for row, size in enumerate(sizes):
            for i in range(5):
                kind = "blue-box" if i < size else "frame"
                d.box(6 + 16 * i, y + 18 * row, 14, 14, "", kind)
        d.arrow((90, y + 16), (116, y + 16))
        d.box(118, y - 4, 92, 40, "the model", "box")
        d.text(164, y - 14, f"process {share + 1}", kind="soft", size=12)
        d.arrow((210, y + 16), (236, y + 16))
        d.box(238, y - 4, 62, 40, f"sum,\n{tokens} tokens", "red-box", 11)
        d.arrow((300, y + 16), (332, 88 if share == 0 else 96), kind="red-line")
    d.box(333, 64, 66, 56, "add up,\ndivide\nby 13", "red-box", 12)
    d.arrow((399, 92), (417, 92), kind="red-line")
    d.text(437, 92, "the\nsame\nstep", size=12)
    d.text(6, 188, "blue: real tokens; the rest is padding", "start", "soft", 12)
    return d


def ring_all_reduce() -> Drawing:
    """Four processes in a ring, each with a vector cut into four pieces, in three states. At the
    start every piece has one process's numbers. After three hops each process has one piece with
    the numbers of all four. After six hops every process has all four pieces complete.
    """
    d, size = Drawing(456, 196), 4
    for process in range(size):
        y = 36 + 34 * process
        d.box(18, y, 28, 26, str(process + 1), "red-box")
        if process:
            d.arrow((32, y - 8), (32, y), kind="red-line")
    d.arrow((18, 151), (7, 151), (7, 49), (18, 49), kind="red-line")
    for state, hops in enumerate((0, size - 1, 2 * (size - 1))):
        x = 68 + 132 * state
        d.text(x + 52, 18, f"after {hops} hops" if hops else "at the start", kind="soft", size=12)
        for process in range(size):
            for piece in range(size):
                parts = (1, (process - piece) % size + 1, size)[state]
                place = x + 26 * piece, 36 + 34 * process, 24, 26
                d.shade(*place, parts / size)
                d.text(place[0] + 12, place[1] + 13, str(parts), bold=parts == size)
    d.text(456, 186, "how many processes' numbers a piece has", "end", "soft", 12)
    return d


def step_times() -> Drawing:
    """What a step takes with one, two, four and eight processes. Computing shrinks to a half, a
    quarter and an eighth; adding up grows a little each time, and soon is the larger part.
    """
    d = Drawing(456, 156)
    for row, processes in enumerate((1, 2, 4, 8)):
        y, computing, adding = 8 + 30 * row, 330 / processes, 80 * (1 - 1 / processes)
        name = "1 process" if processes == 1 else f"{processes} processes"
        d.text(84, y + 12, name, "end", size=12)
        d.box(92, y, computing, 24, "compute" if processes < 4 else "", "blue-box", 12)
        if adding:
            d.box(92 + computing, y, adding, 24, "add" if processes < 4 else "", "red-box", 12)
    d.arrow((92, 134), (440, 134))
    d.text(440, 147, "time of a step", "end", "soft", 12)
    return d
