"""Pictures of chapters 9 to 15: today's block, text, caches, blocks, experts, patches, masks.

A function's docstring is the picture's alternative text.
"""

import math

from tools.book.diagrams.drawing import Drawing


def todays_block() -> Drawing:
    """Today's block, from the bottom up: RMSNorm, grouped attention with rotary positions, plus the
    way around; RMSNorm, a SwiGLU network, plus the way around.
    """
    d = Drawing(430, 300)
    layers = (
        (246, "RMSNorm", "blue-box"),
        (200, "grouped attention, rotary", "red-box"),
        (112, "RMSNorm", "blue-box"),
        (66, "SwiGLU network", "red-box"),
    )
    for y, text, kind in layers:
        d.box(96, y, 190, 30, text, kind)
    d.arrow((191, 294), (191, 277))
    for y, end in ((246, 231), (200, 184), (112, 97), (66, 50)):
        d.arrow((191, y), (191, end))
    for y, start in ((172, 286), (38, 150)):
        d.dot(191, y, 11, "box")
        d.text(191, y, "+")
        d.line((191, start), (60, start), (60, y), (180, y), kind="red-line", width=2)
    d.arrow((191, 161), (191, 143))
    d.arrow((191, 27), (191, 8))
    notes = ((261, "was LayerNorm"), (215, "positions were added"), (81, "was ReLU"))
    for y, note in notes:
        d.text(294, y, note, "start", "soft", 12)
    for y in (229, 94):
        d.text(48, y, "x", kind="red")
    return d


def rotary() -> Drawing:
    """A query and a key as arrows in a plane, turned by their positions. Moved along together,
    both turn by the same angle, and the angle between them, so their product, stays the same.
    """
    d = Drawing(440, 190)
    for x, turn, name in ((100, 0, "key at 1, query at 3"), (330, 55, "key at 5, query at 7")):
        d.line((x - 80, 120), (x + 90, 120), width=0.7)
        d.line((x, 40), (x, 160), width=0.7)
        for angle, kind, letter in ((20 + turn, "blue", "k"), (75 + turn, "red", "q")):
            a = math.radians(angle)
            end = x + 66 * math.cos(a), 120 - 66 * math.sin(a)
            d.arrow((x, 120), end, kind=f"{kind}-line", width=2.5)
            d.text(x + 80 * math.cos(a), 120 - 80 * math.sin(a), letter, kind=kind, bold=True)
        d.arc(x, 120, 26, 20 + turn, 75 + turn, "line")
        d.text(x, 16, name, bold=True)
    d.text(220, 178, "the same angle between them: the same score", kind="soft")
    return d


def grouped_heads() -> Drawing:
    """Four query heads over key heads: in multi-head attention each has its own keys and values, in
    grouped-query attention two share, in multi-query attention all four.
    """
    d = Drawing(456, 150)
    for column, (name, num) in enumerate((("multi-head", 4), ("grouped", 2), ("multi-query", 1))):
        x = 8 + 152 * column
        d.text(x + 68, 14, name, bold=True)
        for i in range(4):
            d.box(x + 34 * i, 32, 28, 26, f"q_{i + 1}", "red-box", 12)
        width = 136 / num
        for i in range(num):
            middle = x + width * (i + 0.5) - 3
            d.box(middle - 14, 102, 28, 26, f"k_{i + 1}" if num > 1 else "k", "blue-box", 12)
            for j in range(4 // num):
                d.line((x + 34 * (i * 4 // num + j) + 14, 58), (middle, 102))
    d.text(228, 142, "kept for each token: 4, 2 or 1 pairs of key and value", kind="soft", size=12)
    return d


def next_tokens() -> Drawing:
    """A window of a text is the input, the same window one letter later the labels: each letter is
    to predict the one after it.
    """
    d = Drawing(430, 150)
    text = "The girl"
    for i in range(7):
        x = 76 + 48 * i
        d.box(x, 96, 36, 30, text[i] if text[i] != " " else "\u2423", "blue-box")
        d.box(x, 26, 36, 30, text[i + 1] if text[i + 1] != " " else "\u2423", "red-box")
        for before in range(i):
            d.line((94 + 48 * before, 96), (x + 18, 57), width=0.5)
        d.arrow((x + 18, 96), (x + 18, 57))
    d.text(8, 111, "X", "start", "blue", bold=True)
    d.text(8, 41, "Y", "start", "red", bold=True)
    d.text(8, 76, "GPT", "start", "soft")
    d.text(240, 142, "each place sees itself and what is before it", kind="soft", size=12)
    return d


def speculation() -> Drawing:
    """A small model drafts four tokens. The large model scores them in one call: three are
    accepted, the fourth is replaced, and drafting goes on from there.
    """
    d = Drawing(440, 168)
    d.text(6, 40, "draft", "start", "soft")
    d.text(6, 110, "model", "start", "soft")
    for i, (word, fate) in enumerate((("the", 1), ("cat", 1), ("sat", 1), ("in", 0))):
        x = 76 + 72 * i
        d.box(x, 24, 58, 32, word, "box")
        d.arrow((x + 29, 56), (x + 29, 93), kind="blue-line" if fate else "red-line")
        d.box(x, 94, 58, 32, word if fate else "on", "blue-box" if fate else "red-box")
        d.text(x + 40, 74, "\u2713" if fate else "\u2717", kind="blue" if fate else "red")
    d.box(364, 94, 58, 32, "the\u2026", "frame")
    d.text(76, 148, "one call of the large model, four tokens", "start", "soft", 12)
    return d


def key_value_cache() -> Drawing:
    """Decoding step 4: keys and values of steps 1 to 3 are kept; only the new token's query, key
    and value are computed, and the query looks at all four.
    """
    d = Drawing(430, 186)
    for i in range(4):
        new = i == 3
        x = 96 + 66 * i
        d.box(x, 36, 54, 28, f"k_{i + 1}", "red-box" if new else "blue-box")
        d.box(x, 70, 54, 28, f"v_{i + 1}", "red-box" if new else "blue-box")
        d.line((x + 27, 99), (321, 134), kind="red-line", width=1)
    d.box(294, 134, 54, 28, "q_4", "red-box")
    d.text(6, 50, "keys", "start", "soft")
    d.text(6, 84, "values", "start", "soft")
    d.text(96, 18, "kept", "start", "blue", bold=True)
    d.text(294, 18, "new", "start", "red", bold=True)
    d.text(6, 150, "queries 1 to 3 are not needed", "start", "soft", 12)
    return d


def windows_and_sinks() -> Drawing:
    """Three masks of ten steps: causal, a triangle; with a window of 4, a band; with a window and 2
    sinks, a band and the first two columns.
    """
    d = Drawing(456, 178)

    def seen(i, j, window, sinks):
        return i >= j and (i - j < window or j < sinks)

    options = (("causal", 99, 0), ("window 4", 4, 0), ("window 4, 2 sinks", 4, 2))
    for column, (name, window, sinks) in enumerate(options):
        x = 6 + 152 * column
        rows = [[0.65 * seen(i, j, window, sinks) for j in range(10)] for i in range(10)]
        d.cells(x, 30, rows, 14)
        d.text(x, 16, name, "start", bold=True, size=13)
    return d


def rolling_cache() -> Drawing:
    """A rolling cache with two sinks and room for four more. When step 8 comes, it is written over
    step 4, the oldest that no later step sees; the sinks 0 and 1 stay.
    """
    d = Drawing(430, 150)
    for row, (held, note) in enumerate(
        (((0, 1, 6, 7, 4, 5), "after step 7"), ((0, 1, 6, 7, 8, 5), "after step 8"))
    ):
        y = 30 + 56 * row
        for i, step in enumerate(held):
            kind = "red-box" if step == 8 else "box" if i < 2 else "blue-box"
            d.box(116 + 50 * i, y, 44, 32, str(step), kind)
        d.text(6, y + 16, note, "start", "soft")
    d.text(163, 14, "sinks", kind="soft", size=12)
    d.text(313, 14, "the last four, in a ring", kind="soft", size=12)
    d.text(116, 136, "step 8 is written over step 4", "start", "red", 12)
    return d


def blockwise() -> Drawing:
    """The matrix of scores is cut into three blocks of keys. They are visited one after the other;
    per query only a maximum m, a sum l and an output o are carried along.
    """
    d = Drawing(440, 196)
    d.box(8, 54, 44, 96, "Q", "red-box")
    for i in range(3):
        x = 76 + 84 * i
        d.box(x, 14, 74, 26, f"K_{i + 1}, V_{i + 1}", "blue-box", 12)
        d.box(x, 54, 74, 96, "", "blue-box" if i == 1 else "frame")
        d.text(x + 37, 102, ("done", "scores\nnow", "to come")[i], size=12)
        if i:
            d.arrow((x - 10, 166), (x + 20, 166), kind="red-line", width=2)
    d.box(342, 54, 90, 96, "m, l, o\nper query", "red-box", 12)
    d.text(76, 182, "m: largest so far; l: sum of exp; o: output", "start", "soft", 12)
    return d


def linear_state() -> Drawing:
    """Linear attention as a recurrence: each step adds its key times its value to a matrix of fixed
    size, and reads the matrix with its query.
    """
    d = Drawing(440, 176)
    for i in range(3):
        x = 76 + 124 * i
        d.box(x, 66, 60, 44, f"S_{i + 1}", "blue-box")
        d.arrow((x + 30, 150), (x + 30, 111))
        d.text(x + 30, 162, f"\u03c6(k_{i + 1}) v_{i + 1}^T", size=12)
        d.arrow((x + 30, 66), (x + 30, 34))
        d.text(x + 30, 22, f"\u03c6(q_{i + 1})^T S_{i + 1}", size=12, kind="red")
        d.arrow((x - 62 if i else 20, 88), (x - 1, 88), kind="blue-line", width=2.5)
        d.text(x - 30, 76, "+", kind="blue")
    d.arrow((384, 88), (416, 88), kind="blue-line", width=2.5)
    d.text(436, 88, "\u2026", "end")
    return d


def experts() -> Drawing:
    """A router gives a token probabilities for four experts. The two most probable are asked, and
    their answers are averaged; the other two do nothing.
    """
    d = Drawing(440, 210)
    d.box(8, 90, 50, 30, "x", "box")
    d.arrow((58, 105), (86, 105))
    d.box(88, 86, 70, 38, "router", "red-box")
    for i, p in enumerate((0.05, 0.55, 0.1, 0.3)):
        y, asked = 10 + 50 * i, p > 0.2
        d.line((158, 105), (238, y + 18), kind="blue-line" if asked else "line", width=1 + 4 * p)
        d.box(240, y, 92, 36, f"expert {i + 1}\n{p:.2f}", "blue-box" if asked else "frame", 12)
        if asked:
            d.arrow((332, y + 18), (374, 105), kind="blue-line", width=1.5)
    d.dot(386, 105, 11, "box")
    d.text(386, 105, "+")
    d.arrow((398, 105), (434, 105))
    return d


def patches() -> Drawing:
    """An image of 8 by 8 pixels is cut into 16 patches of 2 by 2. Each is projected to a vector; a
    class token stands before them, and positions are added.
    """
    d = Drawing(440, 200)
    digit = "00122100 01344310 01200310 00013200 00132000 01310000 02444430 01222210"
    d.cells(10, 34, [[int(c) / 4.5 for c in row] for row in digit.split()], 15)
    for i in range(5):
        d.line((10 + 30 * i, 34), (10 + 30 * i, 154), kind="red-line", width=2)
        d.line((10, 34 + 30 * i), (130, 34 + 30 * i), kind="red-line", width=2)
    d.arrow((140, 94), (176, 94))
    d.box(182, 80, 34, 28, "cls", "red-box", 12)
    for i, name in enumerate(("1", "2", "3", "\u2026", "16")):
        d.box(222 + 42 * i, 80, 34, 28, name, "blue-box", 12)
    d.text(182, 62, "one vector per patch", "start", bold=True, size=13)
    d.text(222, 126, "+ a learned position for each", "start", "soft", 12)
    d.arrow((199, 108), (199, 168))
    d.text(208, 164, "the class is read here", "start", "red", 12)
    return d


def hidden_words() -> Drawing:
    """BERT: the word "chess" of a sentence is replaced by a mask. All words look at each other, in
    both directions, and the output at the mask predicts the hidden word.
    """
    d = Drawing(440, 180)
    words = ("<cls>", "he", "plays", "<mask>", ".", "<sep>")
    for i, word in enumerate(words):
        x, hidden = 10 + 72 * i, word == "<mask>"
        d.box(x, 118, 60, 28, word, "red-box" if hidden else "blue-box", 12)
        d.box(x, 54, 60, 28, "", "red-box" if hidden else "box")
        for j in range(len(words)):
            d.line((x + 30, 118), (40 + 72 * j, 82), width=0.9 if j == 3 else 0.4)
    d.arrow((256, 54), (256, 30), kind="red-line")
    d.text(256, 18, "chess  0.42", kind="red", bold=True)
    d.text(220, 166, "every word sees the words before and after it", kind="soft", size=12)
    return d
