"""Published figures of claims 2 and 4: block linearity is conditional, and grows with depth."""

from __future__ import annotations

from claims.published_figure import EITHER, GPT2, MISTRAL, Difference, InEvidence, InProtocol, InRow, Published

_TABLE_2 = "§4.2, Table 2, row {}"
_TWELVE = "GPT-2 has 12 blocks, 0 to 11"
_GPT2_R2 = {0: 0.949, 5: 0.950, 15: 0.948, 25: 0.948, 31: 0.950}
_MISTRAL_R2 = {0: 0.168, 5: 0.452, 15: 0.580, 25: 0.638, 31: 0.930}

_R2 = (
    Published("energy", EITHER, 2, "share of the energy of Δ that V_k holds", "Eq. 2", "set-up", 0.95, InProtocol(("energy",))),
    *(
        Published(
            f"r2-gpt2-{block}",
            GPT2,
            2,
            f"R² of B{block}",
            _TABLE_2.format(block),
            "r2",
            r2,
            InRow("r2", block) if block < 12 else _TWELVE,
        )
        for block, r2 in _GPT2_R2.items()
    ),
    *(
        Published(f"r2-mistral-{block}", MISTRAL, 2, f"R² of B{block}", _TABLE_2.format(block), "r2", r2, InRow("r2", block))
        for block, r2 in _MISTRAL_R2.items()
    ),
    Published("r2-gpt2-text", GPT2, 2, "R² of GPT-2 in the text", "§4.2", "r2", 0.94, "of the model as a whole; Table 2 has its blocks"),
    Published(
        "r2-gpt2-abstract",
        GPT2,
        2,
        "R² of GPT-2 in one abstract",
        "abstract",
        "r2",
        0.95,
        "of the model as a whole; Table 2 has its blocks",
    ),
)

_SINGLE, _COMPRESSION, _MULTIPLE = "single_replacement", "compression", "multi_replacement"
_NEITHER = "model and order are not stated"
_LAST_FIVE = f"the last five blocks by frozen maps; {_NEITHER}"
_MAP = InEvidence(_COMPRESSION, ("map",))

_REPLACED = (
    Published(
        "map-rank",
        MISTRAL,
        2,
        "rank of the map of B31",
        "§4.2",
        "rank",
        773,
        "it follows from the parameters of the map, 2 · 4,096 for each",
    ),
    Published("map-parameters", MISTRAL, 2, "parameters of the map of B31", "§4.2", "map parameters", 6.3e6, _MAP),
    Published("block-parameters", MISTRAL, 2, "parameters of B31", "§4.2", "parameters", 218e6, InEvidence(_COMPRESSION, ("total",))),
    Published("compression", MISTRAL, 2, "parameters of B31 over those of its map", "§4.2", "ratio", 34, InRow(_COMPRESSION)),
    Published(
        "replaced-last",
        MISTRAL,
        2,
        "perplexity added, B31 replaced by its map",
        "§4.2",
        "perplexity",
        1.71,
        Difference(InEvidence(_SINGLE, ("perplexity", "last")), InEvidence(_SINGLE, ("baseline",))),
    ),
    Published(
        "baseline-mistral", MISTRAL, 2, "perplexity of Mistral as it is", "§4.2", "perplexity", 11.32, InEvidence(_SINGLE, ("baseline",))
    ),
    *(
        figure
        for model, last in (("gpt2", "11"), ("mistral", "31"))
        for figure in (
            Published(
                f"sequential-before-{model}",
                (model,),
                2,
                "R² before five blocks are replaced",
                "§4.2",
                "r2",
                0.94,
                InEvidence("r2_lost", ("curves", last, "clean")),
                differs=f"of B{last}; {_NEITHER}",
            ),
            Published(
                f"sequential-after-{model}",
                (model,),
                2,
                "R² after five blocks are replaced",
                "§4.2",
                "r2",
                0.60,
                InEvidence("r2_lost", ("curves", last, "shifted", 4)),
                differs=f"of B{last} after B{int(last) - 5}–B{int(last) - 1}; {_NEITHER}",
            ),
        )
    ),
    Published("sequential-blocks", EITHER, 2, "blocks replaced one after another", "§4.2", "set-up", 5, InProtocol(("replacement", "run"))),
    Published(
        "sequential-perplexity",
        EITHER,
        2,
        "perplexity added by replacing five blocks",
        "§4.2",
        "perplexity",
        151,
        Difference(InEvidence(_MULTIPLE, ("runs", "last", "perplexity", "maps")), InEvidence(_MULTIPLE, ("baseline",))),
        differs=_LAST_FIVE,
    ),
)

_PROFILE = "importance_u_shape"
_DESTROYED = (
    (range(3), (3.0, 4.5), "0–2"),
    (range(3, 7), (0.5, 1.0), "3–6"),
    (range(7, 11), (0.23, 0.27), "7–10"),
    (range(11, 12), 1.1, "11"),
)

DEPTH = (
    Published("destroyed-levels", GPT2, 4, "levels of INT2", "§4.4", "set-up", 4, InProtocol(("easy", "levels"))),
    Published(
        "depth-first", MISTRAL, 4, "R² of B0, with two digits", "§4.4", "r2", 0.17, "the same as row 0 of Table 2, which is compared"
    ),
    Published(
        "depth-last", MISTRAL, 4, "R² of B31, with two digits", "§4.4", "r2", 0.93, "the same as row 31 of Table 2, which is compared"
    ),
    *(
        Published(
            f"destroyed-{block}",
            GPT2,
            4,
            f"KL with B{block} as INT2" + (f", of B{named}" if len(blocks) > 1 else ""),
            "§4.4",
            "kl",
            kl,
            InEvidence(_PROFILE, ("kl", "both", block)),
            differs="INT2 with a scale for every row",
        )
        for blocks, kl, named in _DESTROYED
        for block in blocks
    ),
)

LINEARITY = (*_R2, *_REPLACED, *DEPTH)
