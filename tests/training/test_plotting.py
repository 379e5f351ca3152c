"""Pictures: that they are written whole, show what they should, and say what is wrong."""

import base64
import io
import re
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from d2l_ext import fonts, plotting
from d2l_ext.files import replacing

SOURCE = ["le", "garçon", "coûte", "$5$", "<eos>"]
TARGET = ["the", "boy", "<eos>"]
RNG = np.random.default_rng(0)
GRID = RNG.dirichlet(np.ones(5), (2, 4, 3))  # (2, 4, 3, 5)
MASK = np.tri(3, dtype=bool)
LOSSES = {"torch": [3.0, 2.0, 1.0], "jax": [3.0, 2.0 + 1e-9, 1.0]}

PICTURES = {
    "heat maps": lambda path: plotting.show_heatmaps(
        GRID, "Keys", "Queries", list("abcd"), path=path
    ),
    "flat heat maps": lambda path: plotting.show_heatmaps(
        RNG.random((1, 3, 40, 40)), "Keys", "Queries", list("abc"), (8, 2.6), path=path
    ),
    "map": lambda path: plotting.attention_map(GRID[0, 0], SOURCE, TARGET, "A map", path=path),
    "grid": lambda path: plotting.attention_grid(
        GRID, SOURCE, TARGET, ["block 1", "block 2"], list("1234"), "A grid", path=path
    ),
    "steps": lambda path: plotting.attention_steps(GRID, SOURCE, TARGET, "Steps", path=path),
    "mask": lambda path: plotting.mask_map(MASK, TARGET, "Causal", path=path),
    "mask without tokens": lambda path: plotting.mask_map(MASK[:2], path=path),
    "positions": lambda path: plotting.positional_encoding(np.sin(np.ones((4, 8))), path=path),
    "losses": lambda path: plotting.loss_curves(LOSSES, title="Losses", path=path),
    "differences": lambda path: plotting.loss_curves(LOSSES, reference="torch", path=path),
    "pairs": lambda path: plotting.loss_curves({"a": ([10, 20], [2.0, 1.0])}, path=path),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_written(tmp_path, name):
    path = tmp_path / "new folder" / "picture.png"
    PICTURES[name](path)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert min(pixels.shape[:2]) > 150
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20  # something is drawn
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def cut_off(picture):
    """By how many inches what is drawn is larger than the picture, at its worst side."""
    picture._repr_svg_()
    box, (width, height) = picture.get_tightbbox(), picture.get_size_inches()
    return max(-box.x0, -box.y0, box.x1 - width, box.y1 - height)


@pytest.mark.parametrize("name", PICTURES)
def test_nothing_is_cut_off(name):
    assert cut_off(PICTURES[name](None)) < 0.01


def test_what_is_cut_off_is_seen():
    picture = plotting.Picture(figsize=(2, 2))
    picture.text(0.9, 0.5, "longer than the rest of the line")
    assert cut_off(picture) > 0.5


def test_a_notebook_shows_a_picture_as_svg():
    svg, again = (plotting.mask_map(MASK)._repr_svg_() for _ in range(2))
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert svg == again
    assert (
        "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()
    )


def test_tokens_stand_at_their_places():
    picture = plotting.attention_map(GRID[0, 0], SOURCE, TARGET)
    ax = picture.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == SOURCE
    assert [t.get_text() for t in ax.get_yticklabels()] == TARGET
    assert not any(t.get_parse_math() for t in ax.get_xticklabels())
    np.testing.assert_array_equal(ax.images[0].get_array(), GRID[0, 0])


def test_a_cell_of_a_map_is_one_pixel_of_the_svg():
    svg = plotting.attention_map(GRID[0, 0], SOURCE, TARGET)._repr_svg_()
    rasters = re.findall(r"data:image/png;base64,\s*([^\"]+)", svg)
    sizes = [Image.open(io.BytesIO(base64.b64decode(data))).size for data in rasters]
    assert (len(SOURCE), len(TARGET)) in sizes
    assert "image-rendering:pixelated" in svg


def test_every_point_of_a_curve_is_drawn():
    y = np.linspace(0, 1, 300)  # on one line, of which two points would do
    svg = plotting.loss_curves({"x": y})._repr_svg_()
    assert max(path.count("L ") for path in re.findall(r'd="([^"]*)"', svg)) == 299


def test_curves_of_several_frameworks_can_be_told_apart():
    names = ["torch", "mxnet", "jax", "tensorflow"]
    ax = plotting.loss_curves({name: [1.0, 0.5] for name in names}).axes[0]
    assert len({line.get_color() for line in ax.lines}) == 4
    widths = [line.get_linewidth() for line in ax.lines]
    assert widths == sorted(widths, reverse=True)  # what coincides still shows
    assert [t.get_text() for t in ax.get_legend().get_texts()] == names


def test_wrong_shapes():
    with pytest.raises(ValueError, match="3 target tokens and 4 source tokens"):
        plotting.attention_map(GRID[0, 0], SOURCE[1:], TARGET)
    with pytest.raises(ValueError, match=r"matrices: got shape \(4, 3, 5\), must have 4 axes"):
        plotting.show_heatmaps(GRID[0], "Keys", "Queries")
    with pytest.raises(ValueError, match="none of them empty"):
        plotting.mask_map(np.ones((0, 3), bool))
    with pytest.raises(ValueError, match="at least one run"):
        plotting.loss_curves({})


def test_a_file_is_whole_or_not_there(tmp_path):
    path = tmp_path / "file"
    with replacing(path) as file:
        file.write(b"old")
    with pytest.raises(RuntimeError), replacing(path) as file:
        file.write(b"half of the ne")
        raise RuntimeError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="nonsense"):
        plotting.mask_map(MASK, path=tmp_path / "a.nonsense")
    assert list(tmp_path.iterdir()) == [path]


def test_what_no_font_has_is_spelt():
    """No font has the last character of Unicode's private planes; every one has letters."""
    last = chr(0x10FFFD)
    names, missing = fonts.families(["é", f"a{last}"])
    assert names == [fonts.OWN] and missing == {last}
    assert fonts.spelt(f"a{last}", missing) == "aU+10FFFD"
    picture = plotting.attention_map(np.eye(2), ["é", f"a{last}"], ["b", "c"])
    assert [t.get_text() for t in picture.axes[0].get_xticklabels()] == ["é", "aU+10FFFD"]
    picture.canvas.draw()  # a missing glyph would be a warning, and that an error


def test_another_font_helps():
    """One that has what matplotlib's own has not, if there is one."""
    own = fonts._characters(fonts.font_manager.findfont(fonts.OWN))
    entries = fonts.font_manager.fontManager.ttflist
    wanted = next(
        sorted(more)[0]
        for entry in entries
        if not entry.name.startswith(fonts.LAST_RESORT)
        and (more := fonts._characters(entry.fname) - own)
    )
    names, missing = fonts.families(["a", wanted])
    assert len(names) == 2 and not missing
