"""Pictures of chapters 1 and 2: masks, the soft look-up, the matrix formula.

A function's docstring is the picture's alternative text.
"""

from tools.book.diagrams.drawing import Drawing


def padding_and_masks() -> Drawing:
    """Three sentences of 5, 3 and 2 words padded to 5 positions; padded cells are empty. Beside
    them the causal mask of 5 steps, a triangle: step i sees the steps up to i.
    """
    d = Drawing(440, 174)
    sentences = ["the girl knows him .", "he sleeps .", "run !"]
    for row, sentence in enumerate(sentences):
        words = sentence.split()
        for column in range(5):
            kind = "blue-box" if column < len(words) else "frame"
            word = words[column] if column < len(words) else ""
            d.box(4 + 54 * column, 40 + 34 * row, 50, 28, word, kind, 12)
        d.text(6 + 54 * 5, 54 + 34 * row, f"{len(words)}", "start", "soft")
    d.text(4, 18, "padding, and valid lengths", "start", bold=True)
    d.cells(322, 40, [[0.65 if j <= i else 0 for j in range(5)] for i in range(5)], 20)
    d.text(322, 18, "causal mask", "start", bold=True)
    d.text(322, 160, "one row a query", "start", "soft", 11)
    d.text(4, 160, "coloured: may be looked at", "start", "soft", 12)
    return d


def where_a_reader_looks() -> Drawing:
    """One sentence, "the old cat sleeps on the warm stove", under three questions. With "who?" the
    words old and cat are dark, with "where?" on, warm and stove, with "what does it do?" sleeps.
    """
    d = Drawing(456, 186)
    words = ["the", "old", "cat", "sleeps", "on", "the", "warm", "stove"]
    widths = (32, 34, 34, 54, 30, 32, 48, 52)
    questions = {
        "who?": (0.1, 0.35, 0.9, 0.1, 0, 0, 0, 0),
        "where?": (0, 0, 0.1, 0.1, 0.35, 0.1, 0.35, 0.9),
        "what does\nit do?": (0, 0, 0.35, 0.9, 0.1, 0, 0, 0),
    }
    for row, (question, weights) in enumerate(questions.items()):
        x, y = 84, 14 + 52 * row
        d.text(6, y + 16, question, "start", "red", 13)
        for word, width, weight in zip(words, widths, weights, strict=True):
            d.shade(x, y, width, 32, weight)
            d.text(x + width / 2, y + 16, word, size=13)
            x += width + 7
    d.text(84, 170, "the stronger the colour, the longer the eye rests there", "start", "soft", 12)
    return d


def soft_look_up() -> Drawing:
    """A query is compared with three keys. The scores become the weights 0.1, 0.7 and 0.2, by
    which the three values are averaged into one output.
    """
    d = Drawing(440, 232)
    d.box(8, 92, 70, 34, "query q", "red-box")
    weights = (0.1, 0.7, 0.2)
    for i, weight in enumerate(weights):
        y = 30 + 62 * i
        d.box(140, y, 60, 34, f"key k_{i + 1}", "blue-box")
        d.box(282, y, 66, 34, f"value v_{i + 1}", "box")
        d.arrow((78, 109), (138, y + 17), kind="red-line")
        d.line((200, y + 17), (282, y + 17), width=1 + 6 * weight, kind="blue-line")
        d.text(241, y + 4, f"{weight}", kind="blue", bold=True)
        d.arrow((348, y + 17), (384, 109), kind="blue-line", width=1 + 5 * weight)
    d.box(384, 92, 52, 34, "output", "red-box", 12)
    d.text(108, 14, "compare", kind="soft", size=12)
    d.text(241, 14, "weigh", kind="soft", size=12)
    d.text(366, 14, "average", kind="soft", size=12)
    d.text(220, 218, "output = 0.1 v_1 + 0.7 v_2 + 0.2 v_3", kind="ink")
    return d


def three_stages() -> Drawing:
    """The three stages of attention, one under the other: scores of a query with four keys, a
    softmax that makes weights of them, the sum of the values times their weights.
    """
    d = Drawing(440, 212)
    rows = [
        ("1 score", ["2.0", "0.0", "1.0", "\u22121.0"], "box", "a(q, k_i)"),
        ("2 normalise", ["0.64", "0.09", "0.24", "0.03"], "blue-box", "softmax"),
        ("3 average", ["v_1", "v_2", "v_3", "v_4"], "red-box", "\u03a3 \u03b1_i v_i"),
    ]
    for row, (name, cells, kind, formula) in enumerate(rows):
        y = 10 + 70 * row
        d.text(6, y + 18, name, "start", bold=True)
        d.text(434, y + 18, formula, "end", "soft")
        for i, cell in enumerate(cells):
            d.box(110 + 60 * i, y, 52, 36, cell, kind)
            if row < 2:
                d.arrow((136 + 60 * i, y + 37), (136 + 60 * i, y + 68))
    d.text(136, 200, "0.64 v_1", kind="red", size=12)
    d.text(196, 200, "+ 0.09 v_2", kind="red", size=12)
    d.text(258, 200, "+ 0.24 v_3", kind="red", size=12)
    d.text(322, 200, "+ 0.03 v_4", kind="red", size=12)
    return d


def matrix_formula() -> Drawing:
    """The formula softmax(Q K transposed over root d) V as boxes with their shapes: Q of m by d
    times K transposed, d by n, gives scores of m by n; times V, n by v, gives m by v.
    """
    d = Drawing(456, 190)
    y = 60
    d.box(6, y, 44, 66, "Q", "red-box")
    d.text(28, y + 80, "m \u00d7 d", kind="soft", size=12)
    d.text(57, y + 33, "\u00d7", size=12)
    d.box(64, y + 11, 92, 44, "K^T", "blue-box")
    d.text(110, y + 80, "d \u00d7 n", kind="soft", size=12)
    d.arrow((160, y + 33), (192, y + 33))
    d.text(176, y + 16, "\u00f7\u221ad", kind="soft", size=12)
    weights = [[0.7, 0.1, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [0.05, 0.15, 0.5, 0.3]]
    d.cells(196, y, weights, 23)
    d.text(242, y + 80, "m \u00d7 n", kind="soft", size=12)
    d.text(242, y - 34, "weights", bold=True)
    d.text(242, y - 16, "softmax of each row", kind="soft", size=12)
    d.text(300, y + 33, "\u00d7")
    d.box(312, y - 12, 46, 92, "V", "box")
    d.text(335, y + 94, "n \u00d7 v", kind="soft", size=12)
    d.arrow((362, y + 33), (390, y + 33))
    d.box(394, y, 46, 66, "output", "red-box", 11)
    d.text(417, y + 80, "m \u00d7 v", kind="soft", size=12)
    return d


def products_of_many_axes() -> Drawing:
    """A product of arrays with three axes: two sentences, each with its own matrix product. The
    first axis, the batch, is carried along; only the last two are multiplied.
    """
    d = Drawing(440, 180)
    for i, (dx, dy) in enumerate(((16, -16), (0, 0))):
        sentence = 2 - i
        d.box(20 + dx, 62 + dy, 76, 70, f"Q_{sentence}", "red-box")
        d.box(160 + dx, 70 + dy, 96, 54, f"K_{sentence}^T", "blue-box")
        d.box(320 + dx, 62 + dy, 92, 70, f"scores_{sentence}", "box")
    d.text(134, 90, "\u00d7", size=18)
    d.text(300, 90, "=", size=18)
    d.text(60, 150, "(2, m, d)", kind="soft")
    d.text(212, 150, "(2, d, n)", kind="soft")
    d.text(370, 150, "(2, m, n)", kind="soft")
    d.text(6, 18, "sentence by sentence: the first axis is not multiplied", "start", bold=True)
    return d
