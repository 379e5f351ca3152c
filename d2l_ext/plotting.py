"""Pictures of attention, masks, positional encodings and losses, from NumPy arrays.

Every function returns a `Picture`, which a notebook shows as SVG, sharp at any size, and writes it
where a path is given.
Sequential maps go from white to one dark colour and curves differ in colour, brightness and
dashes, so that neither needs colour vision.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from d2l_ext import fonts
from d2l_ext.files import replacing

CMAP = "Blues"
# Okabe and Ito's colours, which people with any colour vision can tell apart.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
DASHES = ("-", (0, (6, 2)), (0, (2, 1.5)), (0, (6, 2, 1, 2)), "-.", ":", "--")
DPI = 150
SVG: dict[Any, Any] = {"svg.hashsalt": "d2l_ext"}  # the same picture is the same text
# Each number is one cell with sharp edges, however large the picture is shown.
SHARP: dict[str, Any] = {"interpolation": "none"}


class Picture(Figure):
    """A figure of its own, outside pyplot, so that none has to be closed."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, layout="constrained", **kwargs)
        FigureCanvasAgg(self)

    def save(self, path: str | Path) -> None:
        """Write the picture, in the format that the name's ending says."""
        path = Path(path)
        # A format that does not exist fails before a file is touched.
        data = self._written(path.suffix[1:] or "png")
        with replacing(path) as file:
            file.write(data)

    def _repr_svg_(self) -> str:
        return self._written("svg").decode()

    def _written(self, format: str) -> bytes:
        for line in [line for ax in self.axes for line in ax.lines]:
            # Every point is drawn: which are left out would depend on their last digits.
            line.get_path().should_simplify = False
        data = self._drawn(format)
        # The layout reckons with the ticks of the drawing before, so the second may do better.
        return self._drawn(format) if self._is_cut_off() else data

    def _is_cut_off(self) -> bool:
        """Whether the last drawing was larger than the picture, by a hundredth of an inch."""
        box, (width, height) = self.get_tightbbox(), self.get_size_inches()
        return min(box.x0, box.y0, width - box.x1, height - box.y1) < -0.01

    def _drawn(self, format: str) -> bytes:
        data = io.BytesIO()
        metadata = {"Date": None} if format == "svg" else None
        with rc_context(SVG):
            self.savefig(data, format=format, dpi=DPI, metadata=metadata)
        return data.getvalue()


def _finished(picture: Picture, path: str | Path | None) -> Picture:
    if path is not None:
        picture.save(path)
    return picture


def show_heatmaps(
    matrices: Float[np.ndarray, "rows columns queries keys"],
    xlabel: str,
    ylabel: str,
    titles: Sequence[str] | None = None,
    figsize: tuple[float, float] = (2.5, 2.5),
    cmap: str = "Reds",
    path: str | Path | None = None,
) -> Picture:
    """Show a grid of matrices on one colour scale; D2L's name and arguments.

    Args:
        matrices: (rows, columns, queries, keys).
        xlabel, ylabel: what keys and queries are.
        titles: one per column.
        figsize: size of the whole in inches.
        cmap: name of a colour map.
        path: where to write it.
    """
    matrices = _array("matrices", matrices, 4)
    rows, columns = matrices.shape[:2]
    picture = Picture(figsize=figsize)
    axes = picture.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    limits = {"vmin": np.nanmin(matrices), "vmax": np.nanmax(matrices)}
    for (row, column), ax in np.ndenumerate(axes):
        ax.imshow(matrices[row, column], cmap=cmap, **limits, **SHARP)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(5, integer=True))
        if row == rows - 1:
            ax.set_xlabel(xlabel)
        if column == 0:
            ax.set_ylabel(ylabel)
        if titles is not None:
            ax.set_title(titles[column])
    picture.colorbar(axes[0, 0].images[0], ax=axes, shrink=0.6)
    return _finished(picture, path)


def attention_map(
    weights: Float[np.ndarray, "target source"],
    source: Sequence[str],
    target: Sequence[str],
    title: str | None = None,
    path: str | Path | None = None,
) -> Picture:
    """Show which source tokens each target token looked at.

    Args:
        weights: (target tokens, source tokens), each row adds up to 1.
        source: the tokens attended to.
        target: the tokens that attended, one per row.
        title: written above.
        path: where to write it.
    """
    weights = _array("weights", weights, 2)
    return attention_grid(weights[None, None], source, target, title=title, path=path)


def attention_grid(
    weights: Float[np.ndarray, "rows columns target source"],
    source: Sequence[str],
    target: Sequence[str],
    row_names: Sequence[str] | None = None,
    column_names: Sequence[str] | None = None,
    title: str | None = None,
    path: str | Path | None = None,
) -> Picture:
    """Show attention maps side by side: blocks by heads, models by sentences, ...

    Args:
        weights: (rows, columns, target tokens, source tokens).
        source: the tokens attended to, which all maps share.
        target: the tokens that attended.
        row_names, column_names: names of the grid's rows and columns, say "block 1", "head 1".
        title: written above.
        path: where to write it.
    """
    weights = _array("weights", weights, 4)
    rows, columns = weights.shape[:2]
    _check_tokens(weights, source, target)
    width, height = 0.34 * len(source) + 0.4, 0.34 * len(target) + 0.4
    margin = 0.1 * max(map(len, target)), 0.09 * max(map(len, source))
    picture = Picture(figsize=(columns * width + margin[0] + 1.2, rows * height + margin[1] + 0.5))
    axes = picture.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for (row, column), ax in np.ndenumerate(axes):
        ax.imshow(weights[row, column], cmap=CMAP, vmin=0, vmax=1, **SHARP)
        _label(ax, source, target, top=row == 0, bottom=False, left=column == 0)
        if row == rows - 1 and column_names is not None:
            ax.set_xlabel(column_names[column])
        if column == 0 and row_names is not None:
            ax.set_ylabel(row_names[row])
    picture.colorbar(
        axes[0, 0].images[0], ax=axes, shrink=min(1, 2 / (rows * height)), label="weight"
    )
    if title is not None:
        picture.suptitle(title, parse_math=False)
    return _finished(picture, path)


def attention_steps(
    weights: Float[np.ndarray, "blocks heads target source"],
    source: Sequence[str],
    target: Sequence[str],
    title: str | None = None,
    path: str | Path | None = None,
) -> Picture:
    """Show, for every target token, what each head of each block looked at.

    Args:
        weights: (blocks, heads, target tokens, source tokens).
        source: the tokens attended to.
        target: the tokens that attended; each has its own panel.
        title: written above.
        path: where to write it.
    """
    weights = _array("weights", weights, 4)
    _check_tokens(weights, source, target)
    blocks, heads, steps, keys = weights.shape
    names = [f"{b + 1}.{h + 1}" for b in range(blocks) for h in range(heads)]
    if len(names) == 1:
        names = [""]  # there is nothing to tell apart
    columns = min(steps, 4)
    rows = -(-steps // columns)
    size = columns * (0.3 * keys + 0.3) + 1.4, rows * (0.24 * len(names) + 0.5) + 1.4
    picture = Picture(figsize=size)
    axes = picture.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for step, ax in enumerate(axes.flat):
        if step >= steps:
            ax.set_visible(False)
            continue
        panel = weights[:, :, step].reshape(blocks * heads, keys)
        ax.imshow(panel, cmap=CMAP, vmin=0, vmax=1, aspect="auto", **SHARP)
        lowest = step + columns >= steps
        _label(ax, source, names, bottom=lowest, left=step % columns == 0)
        ax.set_title(target[step], fontsize=10, parse_math=False)
    if blocks * heads > 1:
        picture.supylabel("block.head", fontsize=10)
    picture.colorbar(axes[0, 0].images[0], ax=axes, label="weight")
    if title is not None:
        picture.suptitle(title, parse_math=False)
    return _finished(picture, path)


def mask_map(
    mask: Bool[np.ndarray, "queries keys"],
    tokens: Sequence[str] | None = None,
    title: str | None = None,
    path: str | Path | None = None,
) -> Picture:
    """Show a mask (queries, keys): dark where a query may attend.

    Args:
        mask: boolean; True means attend. A causal mask is (num_steps, num_steps).
        tokens: names of the positions, for a mask of a sequence on itself; by default numbers.
        title: written above.
        path: where to write it.
    """
    mask = _array("mask", mask, 2)
    queries, keys = mask.shape
    picture = Picture(figsize=(0.35 * keys + 1.6, 0.35 * queries + 1.2))
    ax = picture.subplots()
    ax.imshow(mask.astype(float), cmap=CMAP, vmin=0, vmax=1.4, **SHARP)
    names = tokens if tokens is not None else [str(i) for i in range(max(queries, keys))]
    _label(ax, names[:keys], names[:queries])
    ax.set_xticks(np.arange(keys + 1) - 0.5, minor=True)
    ax.set_yticks(np.arange(queries + 1) - 0.5, minor=True)
    ax.grid(which="minor", color="0.8", linewidth=0.8)
    ax.tick_params(which="minor", length=0)
    ax.set_xlabel("key")
    ax.set_ylabel("query")
    if title is not None:
        ax.set_title(title, parse_math=False)
    return _finished(picture, path)


def positional_encoding(
    P: Float[np.ndarray, "num_steps num_hiddens"],
    columns: Sequence[int] = (6, 7, 8, 9),
    path: str | Path | None = None,
) -> Picture:
    """Show a positional encoding: some of its columns as curves, and the whole as a heat map.

    Args:
        P: (num_steps, num_hiddens).
        columns: which columns are drawn as curves.
        path: where to write it.
    """
    P = _array("P", P, 2)
    picture = Picture(figsize=(8, 3.4))
    curves, whole = picture.subplots(1, 2, width_ratios=(1.2, 1))
    columns = [column for column in columns if column < P.shape[1]]
    for number, column in enumerate(columns):
        curves.plot(P[:, column], label=f"{column}", **_style(number))
    curves.set_xlabel("position")
    _legend(curves, title="column", ncols=max(len(columns), 1), loc="lower left")
    curves.set_ylim(min(P.min(), -1) - 0.45, max(P.max(), 1) + 0.1)
    limit = max(np.abs(P).max(), 1e-9)
    image = whole.imshow(P, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto", **SHARP)
    whole.set_xlabel("column")
    whole.set_ylabel("position")
    picture.colorbar(image, ax=whole)
    return _finished(picture, path)


def loss_curves(
    losses: Mapping[str, Any],
    xlabel: str = "step",
    ylabel: str = "loss",
    reference: str | None = None,
    title: str | None = None,
    path: str | Path | None = None,
) -> Picture:
    """Show the losses of several runs in one figure.

    Args:
        losses: ``{name: losses}``; a value may also be a pair of x and y values.
        xlabel, ylabel: names of the axes.
        reference: name of a run from which the others' differences are drawn below, on a
            logarithmic scale; None draws none.
        title: written above.
        path: where to write it.
    """
    if not losses:
        raise ValueError("losses: got none, must have at least one run")
    curves = {name: _curve(values) for name, values in losses.items()}
    picture = Picture(figsize=(6.4, 4 if reference is None else 5.6))
    panels = 1 if reference is None else 2
    axes = picture.subplots(panels, 1, sharex=True, squeeze=False, height_ratios=(3, 2)[:panels])
    top = axes[0, 0]
    for number, (name, (x, y)) in enumerate(curves.items()):
        top.plot(x, y, label=name, **_style(number, len(curves)))
    top.set_ylabel(ylabel)
    _legend(top)
    if reference is not None:
        _differences(axes[1, 0], curves, reference)
    axes[-1, 0].set_xlabel(xlabel)
    axes[-1, 0].xaxis.set_major_locator(MaxNLocator(integer=True))
    if title is not None:
        picture.suptitle(title, parse_math=False)
    return _finished(picture, path)


def _curve(values: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(values, tuple):
        x, y = values
        return np.asarray(x, float), np.asarray(y, float)
    y = np.asarray(values, float)
    return np.arange(1, len(y) + 1), y


def _differences(
    ax: Axes, curves: Mapping[str, tuple[np.ndarray, np.ndarray]], reference: str
) -> None:
    """Draw how far each curve is from the reference, where both have a value."""
    base = curves[reference][1]
    for number, (name, (x, y)) in enumerate(curves.items()):
        if name != reference:
            common = min(len(y), len(base))
            difference = np.abs(y[:common] - base[:common])
            drawn = np.where(difference > 0, difference, np.nan)  # no logarithm of an exact zero
            ax.plot(x[:common], drawn, label=name, **_style(number))
    ax.set_yscale("log")
    ax.set_ylabel(f"difference from {reference}")
    _open(ax)


def _style(number: int, total: int = 1) -> dict[str, Any]:
    """Return how a curve is drawn; of several that coincide, the later ones are thinner."""
    return {
        "color": COLOURS[number % len(COLOURS)],
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": 1.4 + 1.2 * max(total - 1 - number, 0),
    }


def _open(ax: Axes) -> None:
    ax.grid(alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)


def _legend(ax: Axes, **options: Any) -> None:
    _open(ax)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, **options)


def _label(
    ax: Axes,
    source: Sequence[str],
    target: Sequence[str],
    top: bool = False,
    bottom: bool = True,
    left: bool = True,
) -> None:
    """Write tokens beside the axes (as they are: a dollar sign starts no formula)."""
    family, missing = fonts.families([*source, *target])
    source, target = ([fonts.spelt(token, missing) for token in side] for side in (source, target))
    ax.set_xticks(range(len(source)), source, rotation=90, parse_math=False, fontfamily=family)
    ax.set_yticks(range(len(target)), target, parse_math=False, fontfamily=family)
    ax.tick_params(
        length=0,
        labeltop=top,
        labelbottom=bottom,
        labelleft=left,
    )


def _array(name: str, x: Any, axes: int) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != axes or 0 in x.shape:
        raise ValueError(f"{name}: got shape {x.shape}, must have {axes} axes, none of them empty")
    return x


def _check_tokens(weights: np.ndarray, source: Sequence[str], target: Sequence[str]) -> None:
    if weights.shape[-2:] != (len(target), len(source)):
        raise ValueError(
            f"weights: got {weights.shape[-2:]} on the last axes, must be {len(target)} target"
            f" tokens and {len(source)} source tokens"
        )
