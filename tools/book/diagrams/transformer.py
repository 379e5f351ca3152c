"""Pictures of chapters 5 to 8: heads, self-attention, the Transformer, beam search.

A function's docstring is the picture's alternative text.
"""

from tools.book.diagrams.drawing import Drawing


def heads_split_and_joined() -> Drawing:
    """A vector of 6 numbers per word is cut into 3 heads of 2. Each head attends by itself; their
    outputs stand side by side again and are mixed by one matrix.
    """
    d = Drawing(450, 210)
    kinds = ("blue-box", "red-box", "box")
    d.box(6, 92, 64, 34, "X", "box")
    d.arrow((70, 109), (92, 109))
    d.box(94, 62, 50, 94, "W_q\nW_k\nW_v", "box")
    for i, kind in enumerate(kinds):
        y = 18 + 68 * i
        d.arrow((145, 109), (172, y + 26))
        d.box(174, y, 108, 52, f"head {i + 1}\nattention", kind, 12)
        d.arrow((283, y + 26), (316, 75 + 34 * i))
        d.box(318, 58 + 34 * i, 32, 34, f"o_{i + 1}", kind)
    d.arrow((351, 109), (372, 109))
    d.box(374, 82, 34, 54, "W_o", "box")
    d.arrow((409, 109), (442, 109))
    d.text(38, 142, "n \u00d7 6", kind="soft", size=12)
    d.text(334, 176, "n \u00d7 6\njoined", kind="soft", size=12)
    return d


def queries_keys_values() -> Drawing:
    """Two words, Thinking and Machines. Each vector is multiplied by three matrices and gives a
    query, a key and a value; the first query meets both keys.
    """
    d = Drawing(450, 236)
    for i, word in enumerate(("Thinking", "Machines")):
        x = 96 + 190 * i
        d.text(x + 60, 14, word, bold=True)
        d.box(x + 20, 26, 80, 26, f"x_{i + 1}", "box")
        for j, (name, kind) in enumerate((("q", "red-box"), ("k", "blue-box"), ("v", "box"))):
            d.arrow((x + 60, 52), (x + 14 + 46 * j, 90))
            d.box(x - 6 + 46 * j, 91, 40, 28, f"{name}_{i + 1}", kind)
    d.text(6, 71, "W_q  W_k  W_v", "start", "soft", 12)
    rows = (
        ("score  q_1 \u00b7 k_i", "112", "96"),
        ("\u00f7 8", "14", "12"),
        ("softmax", "0.88", "0.12"),
    )
    for i, (name, a, b) in enumerate(rows):
        y = 142 + 24 * i
        d.text(6, y, name, "start", "soft")
        d.text(156, y, a)
        d.text(346, y, b)
    d.line((6, 206), (444, 206))
    d.text(6, 222, "z_1 = 0.88 v_1 + 0.12 v_2", "start", "red", bold=True)
    return d


def paths() -> Drawing:
    """How far the first word is from the last of five: four steps in a recurrent network, one step
    in self-attention, where every pair is connected.
    """
    d = Drawing(440, 168)
    for i in range(5):
        d.box(10 + 40 * i, 70, 30, 28, f"{i + 1}", "blue-box")
        if i:
            d.arrow((10 + 40 * i - 10, 84), (10 + 40 * i, 84), kind="red-line", width=2)
        x = 246 + 40 * i
        d.box(x, 118, 30, 28, f"{i + 1}", "blue-box")
        d.box(x, 38, 30, 28, "", "red-box")
        for j in range(5):
            kind = "red-line" if (i, j) == (0, 4) else "line"
            width = 2 if (i, j) == (0, 4) else 0.6
            d.line((x + 15, 118), (246 + 40 * j + 15, 66), kind=kind, width=width)
    d.text(10, 16, "recurrent: 4 steps", "start", bold=True)
    d.text(246, 16, "self-attention: 1 step", "start", bold=True)
    return d


def _stack(d, x, bottom, layers, width=132):
    """Draw boxes from the bottom up, with arrows, and return their middles."""
    middles, y = [], bottom
    for text, kind in layers:
        height = 20 if text == "add, norm" else 30
        y -= height
        d.box(x, y, width, height, text, kind, 12)
        middles.append(y + height / 2)
        if len(middles) < len(layers):
            y -= 9
            d.arrow((x + width / 2, y + 9), (x + width / 2, y), kind="line")
    return middles


def the_transformer() -> Drawing:
    """The Transformer. Left the encoder's block: self-attention, add and norm, network, add and
    norm. Right the decoder's: causal self-attention, attention to the encoder's output, network,
    each with add and norm; on top a linear layer.
    """
    d = Drawing(440, 330)
    d.box(34, 102, 156, 146, "", "frame")
    d.box(250, 36, 156, 212, "", "frame")
    norm = ("add, norm", "box")
    left = [("self-attention", "blue-box"), norm, ("network", "red-box"), norm]
    right = [
        ("causal self-attention", "blue-box"),
        norm,
        ("attention", "blue-box"),
        norm,
        ("network", "red-box"),
        norm,
    ]
    _stack(d, 46, 240, left)
    middles = _stack(d, 262, 240, right)
    d.arrow((112, 113), (112, 72), (220, 72), (220, middles[2]), (261, middles[2]))
    d.text(166, 60, "keys, values", kind="soft", size=12)
    d.arrow((328, 45), (328, 27))
    for x, words in ((46, "source"), (262, "target so far")):
        d.arrow((x + 66, 270), (x + 66, 241))
        d.box(x, 270, 132, 24, "embedding + position", "box", 11)
        d.text(x + 66, 310, words)
    d.box(288, 4, 80, 22, "linear", "box", 12)
    d.text(30, 172, "N\u00d7", "end", "soft")
    d.text(410, 144, "\u00d7N", "start", "soft")
    return d


def post_and_pre_norm() -> Drawing:
    """Two ways to normalise. Post-norm: the sum of input and sublayer is normalised. Pre-norm: the
    sublayer's input is normalised, and the way around it stays free.
    """
    d = Drawing(430, 178)
    ways = (20, "post-norm", ("f", "+", "norm")), (240, "pre-norm", ("norm", "f", "+"))
    for x, name, order in ways:
        d.text(x, 14, name, "start", bold=True)
        xs = (x + 34, x + 84, x + 134)
        d.arrow((x, 110), (xs[0] - 1, 110))
        for i, (place, what) in enumerate(zip(xs, order, strict=True)):
            kind = {"f": "red-box", "norm": "blue-box", "+": "box"}[what]
            d.box(place, 94, 36, 32, what, kind, 12)
            d.arrow((place + 36, 110), (xs[i + 1] - 1 if i < 2 else x + 186, 110))
        plus = xs[order.index("+")] + 18
        d.arrow((x + 14, 110), (x + 14, 60), (plus, 60), (plus, 93), kind="red-line", width=2)
        d.text((x + 14 + plus) / 2, 48, "residual", kind="red", size=12)
    d.text(20, 152, "LayerNorm(x + f(x))", "start", "soft")
    d.text(240, 152, "x + f(LayerNorm(x))", "start", "soft")
    return d


def beam_search() -> Drawing:
    """Beam search with two beginnings. A has probability 0.6 and B 0.4; A goes on to C and D with
    0.5 each, so 0.30, B to C with 0.9, so 0.36, and to D with 0.1, so 0.04. The best end is B C,
    which greedy search misses.
    """
    d = Drawing(430, 196)
    d.box(8, 82, 60, 30, "<bos>", "box")
    for y, name, p, above in ((36, "A", "0.6", -30), (130, "B", "0.4", 30)):
        d.arrow((68, 97), (128, y + 15))
        d.box(130, y, 50, 30, name, "blue-box")
        d.text(92, 97 + 1.25 * above, p, kind="soft", size=12)
    ends = (
        (10, 51, "A C", "0.5", "0.30"),
        (58, 51, "A D", "0.5", "0.30"),
        (106, 145, "B C", "0.9", "0.36"),
        (154, 145, "B D", "0.1", "0.04"),
    )
    for y, start, name, p, product in ends:
        best, middle = name == "B C", y + 14
        d.arrow((180, start), (258, middle), kind="red-line" if best else "line")
        d.text(212, (start + middle) / 2 + (14 if middle > start else -14), p, kind="soft", size=12)
        d.box(260, y, 60, 28, name, "red-box" if best else "box")
        d.text(330, middle, product, "start", "red" if best else "soft", bold=best)
    d.text(370, 120, "best", "start", "red", 12)
    return d
