"""Published figures of claim 3: the reconstruction wall."""

from __future__ import annotations

from claims.published_figure import EITHER, GPT2, NOT_SAID, InProtocol, InRow, Published

_TABLE_3 = "§4.3, Table 3"
_ABSOLUTE = "a report has errors over that of direct quantisation, and no absolute ones"
_LAYERS = "mean of all layers"

WALL = (
    Published("levels", GPT2, 3, "levels of a budget of four bits", _TABLE_3, "set-up", 16, InProtocol(("reconstruction", "levels"))),
    *(
        Published(
            f"{name}-levels",
            GPT2,
            3,
            f"levels of INT{bits}, rotated",
            _TABLE_3,
            "set-up",
            2**bits,
            InProtocol(("reconstruction", f"{name}_levels")),
        )
        for name, bits in (("leading", 8), ("other", 2))
    ),
    Published("wall-direct", GPT2, 3, "direct over direct", _TABLE_3, "set-up", 1, "1 by definition: what the others are compared with"),
    *(
        Published(f"mse-{name}", GPT2, 3, f"output MSE, {what}", _TABLE_3, "error", mse, _ABSOLUTE)
        for name, what, mse in (
            ("direct", "INT4 direct", 0.000679),
            ("dct", "DCT and INT4", 0.001935),
            ("svd", "SVD of rank 384 and INT4", 0.001359),
            ("rotated", "rotated INT8 and INT2", 0.016882),
        )
    ),
    Published("wall-dct", GPT2, 3, "DCT and INT4 over direct", _TABLE_3, "ratio", 2.8, InRow("wall_dct"), differs=_LAYERS),
    Published(
        "wall-svd",
        GPT2,
        3,
        "SVD and INT4 over direct",
        _TABLE_3,
        "ratio",
        2.0,
        InRow("wall_svd"),
        differs=f"{_LAYERS}; rank mn/(m+n), which is 384 for 768 × 768 and more for larger layers",
    ),
    Published("svd-rank", GPT2, 3, "rank of the SVD", _TABLE_3, "set-up", 384, "a report does not record the rank of each layer"),
    Published(
        "wall-rotated",
        GPT2,
        3,
        "rotated INT8 and INT2 over direct",
        _TABLE_3,
        "ratio",
        24.8,
        InRow("wall_random"),
        differs=f"a random rotation, INT8 on a third; {_LAYERS}",
    ),
    *(
        Published(
            f"wall-{basis}",
            EITHER,
            3,
            f"INT8 and INT2 in the {basis.upper()} basis over direct",
            "§5.5",
            "ratio",
            (20, 21),
            InRow(f"wall_{basis}"),
            differs=f"INT8 on a third; {_LAYERS}; {NOT_SAID}",
        )
        for basis in ("pca", "cca")
    ),
    Published(
        "cross-terms",
        GPT2,
        3,
        "cross-terms over the direct error (“typically exceed”)",
        "§4.3, Eq. 4",
        "ratio",
        1,
        InRow("cross_terms"),
        differs="of the SVD, mean of all layers; not said of which model, Table 3 is GPT-2's",
        above=True,
    ),
)
