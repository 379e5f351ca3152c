"""Pictures of chapters 3 and 4: encoder and decoder, LSTM, teacher forcing, alignment.

A function's docstring is the picture's alternative text.
"""

from tools.book.diagrams.drawing import Drawing

SOURCE, TARGET = ("they", "are", "watching", "."), ("<bos>", "ils", "regardent", ".")


def _row(d, x, y, words, kind, step=52, width=46):
    """Draw a row of states with arrows between them and words below."""
    for i, word in enumerate(words):
        d.box(x + step * i, y, width, 32, "", kind)
        if i:
            d.arrow((x + step * i - step + width, y + 16), (x + step * i, y + 16))
        d.arrow((x + step * i + width / 2, y + 54), (x + step * i + width / 2, y + 33))
        d.text(x + step * i + width / 2, y + 64, word, size=11)


def one_vector() -> Drawing:
    """Encoder and decoder: four source words are read into one vector, from which the decoder
    writes the target, one word after the other.
    """
    d = Drawing(456, 150)
    _row(d, 9, 70, SOURCE, "blue-box", 46, 34)
    _row(d, 258, 70, TARGET, "red-box", 51, 38)
    d.arrow((181, 86), (210, 86), kind="red-line", width=3)
    d.box(212, 66, 18, 40, "c", "box")
    d.arrow((230, 86), (257, 86), kind="red-line", width=3)
    for i, word in enumerate(("ils", "regardent", ".", "<eos>")):
        d.arrow((277 + 51 * i, 69), (277 + 51 * i, 48))
        d.text(277 + 51 * i, 38, word, size=11)
    d.text(95, 16, "encoder", bold=True)
    d.text(354, 16, "decoder", bold=True)
    d.text(221, 124, "one\nvector", kind="soft", size=11)
    return d


def lstm_cell() -> Drawing:
    """One step of an LSTM. The old cell is multiplied by the forget gate f; the input gate i times
    the proposal g is added; tanh of the new cell times the output gate o is the new state.
    """
    d = Drawing(440, 216)
    d.box(60, 16, 320, 150, "", "frame")
    d.arrow((10, 44), (148, 44), kind="blue-line", width=2.5)
    d.text(28, 28, "c", kind="blue", bold=True)
    d.dot(160, 44, 11, "box")
    d.text(160, 44, "\u2299")
    d.arrow((172, 44), (232, 44), kind="blue-line", width=2.5)
    d.dot(244, 44, 11, "box")
    d.text(244, 44, "+")
    d.arrow((256, 44), (432, 44), kind="blue-line", width=2.5)
    d.text(412, 28, "c\u2032", kind="blue", bold=True)
    for x, gate in ((142, "f"), (202, "i"), (252, "g"), (312, "o")):
        d.box(x, 124, 34, 28, gate, "red-box")
    d.arrow((159, 124), (159, 57))
    d.dot(244, 92, 10, "box")
    d.text(244, 92, "\u2299")
    d.arrow((244, 82), (244, 57))
    d.arrow((219, 124), (238, 100))
    d.arrow((266, 124), (250, 100))
    d.arrow((329, 124), (329, 103), kind="line")
    d.dot(329, 92, 10, "box")
    d.text(329, 92, "\u2299")
    d.arrow((329, 46), (329, 81))
    d.text(348, 64, "tanh", "start", "soft", 12)
    d.arrow((340, 92), (432, 92), kind="red-line", width=2.5)
    d.text(412, 108, "h\u2032", kind="red", bold=True)
    d.line((10, 184), (330, 184), kind="red-line", width=2.5)
    for x in (159, 219, 269, 329):
        d.arrow((x, 184), (x, 153), kind="red-line")
    d.text(10, 200, "h and x, the old state and the input", "start", "red")
    return d


def teacher_forcing() -> Drawing:
    """A two-layer decoder unrolled over three steps. In training its inputs are the true words; in
    use each word it says is the next step's input.
    """
    d = Drawing(440, 236)
    for i, (word, label) in enumerate((("<bos>", "ils"), ("ils", "regardent"), ("regardent", "."))):
        x = 96 + 118 * i
        for layer, y in ((1, 128), (2, 74)):
            d.box(x, y, 74, 32, f"layer {layer}", "red-box", 12)
            if i:
                d.arrow((x - 44, y + 16), (x - 1, y + 16))
        d.arrow((x + 37, 186), (x + 37, 161))
        d.arrow((x + 37, 128), (x + 37, 107))
        d.arrow((x + 37, 74), (x + 37, 50))
        d.text(x + 37, 40, label, size=12)
        d.text(x + 37, 198, word, size=12, kind="blue")
        if i < 2:
            d.arrow((x + 70, 40), (x + 98, 40), (x + 98, 192), (x + 118, 192), kind="line")
    for y in (90, 144):
        d.arrow((56, y), (95, y))
    d.text(6, 117, "from the\nencoder", "start", "soft", 12)
    d.text(6, 222, "blue: given in training; along the grey line: in use", "start", "soft", 12)
    d.text(6, 16, "labels, or what it says", "start", "soft", 12)
    return d


def looking_back() -> Drawing:
    """Encoder and decoder with attention: before each word the decoder's state is a query to all
    states of the encoder. The line to the source word "watching" is thick.
    """
    d = Drawing(456, 220)
    _row(d, 9, 140, SOURCE, "blue-box", 54, 40)
    d.box(262, 140, 46, 32, "s_1", "red-box")
    d.box(330, 140, 46, 32, "s_2", "red-box")
    d.arrow((211, 156), (261, 156))
    d.arrow((308, 156), (329, 156))
    d.arrow((376, 156), (406, 156))
    for x, word in ((285, "<bos>"), (353, "ils")):
        d.arrow((x, 194), (x, 173))
        d.text(x, 204, word, size=11)
    d.box(84, 40, 130, 32, "attention", "box")
    for i, weight in enumerate((0.1, 0.15, 1.0, 0.05)):
        d.arrow((29 + 54 * i, 139), (95 + 36 * i, 73), kind="blue-line", width=0.8 + 4 * weight)
    d.arrow((285, 139), (285, 64), (215, 64), kind="red-line")
    d.text(292, 104, "query", "start", "red", 12)
    d.line((215, 48), (345, 48), kind="blue-line", width=2.5)
    d.arrow((345, 48), (345, 139), kind="blue-line", width=2.5)
    d.text(352, 76, "context c_2", "start", "blue", 12)
    d.text(8, 104, "keys,\nvalues", "start", "blue", 12)
    d.text(149, 20, "weights 0.05, 0.10, 0.80, 0.05", kind="soft", size=12)
    return d


def hello_world() -> Drawing:
    """An alignment of "hello, world!" and its translation "bonjour le monde !". Bonjour looks at
    hello; le and monde both look at world; the exclamation mark looks at its own.
    """
    d = Drawing(340, 196)
    source, target = ("hello", ",", "world", "!"), ("bonjour", "le", "monde", "!")
    rows = (
        (0.85, 0.05, 0.05, 0.05),
        (0.1, 0.15, 0.7, 0.05),
        (0.05, 0.05, 0.8, 0.1),
        (0.05, 0.05, 0.05, 0.85),
    )
    for j, word in enumerate(source):
        d.text(129 + 56 * j, 22, word)
    for i, (word, weights) in enumerate(zip(target, rows, strict=True)):
        y = 40 + 32 * i
        d.text(88, y + 14, word, "end")
        for j, weight in enumerate(weights):
            d.shade(102 + 56 * j, y, 54, 28, weight)
            d.text(129 + 56 * j, y + 14, f"{weight:.2f}", size=12)
    d.text(334, 182, "a row for each word of the target; it adds up to 1", "end", "soft", 12)
    return d
