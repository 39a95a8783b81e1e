"""Published figures of claim 5: 30% of tokens are easy."""

from __future__ import annotations

from claims.published_figure import EITHER, GPT2, MISTRAL, InEvidence, InProtocol, InRow, Matching, Published, With

_ROUTING, _EXITS = "routing_cost", "exit_agreement"
_TABLE_4, _TABLE_8 = "§4.5, Table 4", "§4.5, Table 8"
_LONGER = "heads of this suite are trained for 500 steps, on the calibration tokens; --head-steps trains longer, on the same tokens"
_LONGER_OF = (*MISTRAL, "llama-3.2-3b", "tinyllama")
_NEAR_MISTRAL = "taken for Mistral, as the heads beside it are"

_HEADS = (
    Published("head-steps", EITHER, 5, "steps of training a head", "set-up", "set-up", 500, InProtocol(("easy", "steps"))),
    Published(
        "plateau",
        MISTRAL,
        5,
        "agreement at which training has its plateau (“~30%”)",
        "§4.5",
        "share",
        0.30,
        "no plateau is looked for; the agreement at the end of training is compared",
    ),
    Published("agreement", MISTRAL, 5, "agreement of a head trained at B15 with the model", "§4.5", "share", 0.302, InRow(_EXITS)),
    *(
        figure
        for block, naive, trained in ((15, 0.055, 0.302), (23, 0.196, 0.404), (27, 0.337, 0.494))
        for figure in (
            Published(
                f"naive-{block}",
                MISTRAL,
                5,
                f"agreement at B{block}, head not trained",
                _TABLE_8,
                "share",
                naive,
                InEvidence(_EXITS, ("naive", Matching("exits", block))),
            ),
            Published(
                f"trained-{block}",
                MISTRAL,
                5,
                f"agreement at B{block}, head trained",
                _TABLE_8,
                "share",
                trained,
                "the same as the agreement of §4.5, which is compared" if block == 15 else InEvidence(_ROUTING, ("trained", str(block))),
            ),
        )
    ),
    *(
        Published(
            f"blocks-saved-{block}",
            MISTRAL,
            5,
            f"blocks saved by leaving at B{block}",
            _TABLE_8,
            "share",
            saved,
            "a count of blocks, and no measurement",
        )
        for block, saved in ((15, 0.53), (23, 0.28), (27, 0.16))
    ),
    Published(
        "supervision",
        MISTRAL,
        5,
        "agreement by cross-entropy minus that by distillation",
        "§4.5",
        "share",
        0,
        InRow("supervision"),
        differs=f"at B15; {_NEAR_MISTRAL}",
        above=True,
    ),
    *(
        Published(f"long-{name}", _LONGER_OF, 5, f"{name} of longer training", "§4.5", "set-up", count, "chosen; see the row below")
        for name, count in (("steps", 10_000), ("tokens", 866_000))
    ),
    Published(
        "long-training",
        _LONGER_OF,
        5,
        "agreement of heads after 10K steps on 866K tokens",
        "§4.5",
        "share",
        (0.35, 0.53),
        _LONGER,
    ),
)

_SAVED = (
    "of the blocks' operations, those of heads not counted; the paper may count the exit's own block too, as Table 8 does: 17 of 32 at B15"
)

_THRESHOLDS = tuple(
    Published(
        f"threshold-{place}",
        MISTRAL,
        5,
        f"threshold of row {place + 1}",
        _TABLE_4,
        "set-up",
        threshold,
        InProtocol(("easy", "thresholds", place)),
    )
    for place, threshold in enumerate((0.95, 0.80, 0.70, 0.50))
)

_ROUTED = (
    *_THRESHOLDS,
    Published(
        "routing-baseline",
        MISTRAL,
        5,
        "perplexity without routing",
        _TABLE_4,
        "perplexity",
        11.32,
        "the same as the baseline of §4.2, which is compared",
    ),
    *(
        figure
        for threshold, perplexity, saved in ((0.95, 15.63, 0.064), (0.80, 21.98, 0.133), (0.70, 27.35, 0.174), (0.50, 47.07, 0.269))
        for figure in (
            Published(
                f"routing-{threshold:.2f}",
                MISTRAL,
                5,
                f"perplexity, threshold {threshold:.2f}",
                _TABLE_4,
                "perplexity",
                perplexity,
                InEvidence(_ROUTING, ("rows", With("threshold", threshold), "perplexity")),
            ),
            Published(
                f"saved-{threshold:.2f}",
                MISTRAL,
                5,
                f"compute saved, threshold {threshold:.2f}",
                _TABLE_4,
                "share",
                saved,
                InEvidence(_ROUTING, ("rows", With("threshold", threshold), "saved")),
                differs=_SAVED,
            ),
        )
    ),
)

_LORA = (
    Published("lora-rank", MISTRAL, 5, "rank of the LoRA", "§4.5", "set-up", 64, InProtocol(("easy", "lora_rank"))),
    *(
        Published(f"lora-{name}", MISTRAL, 5, f"{name} of training with the LoRA", "§4.5", "set-up", count, f"chosen, and here {same}")
        for name, count, same in (("steps", 500, "as many as of a head"), ("samples", 32, "all calibration samples"))
    ),
    Published("lora-early", MISTRAL, 5, "weight of the head's loss", "§4.5", "set-up", 0.5, InProtocol(("easy", "lora_early"))),
    Published(
        "lora-gain",
        MISTRAL,
        5,
        "agreement that a LoRA adds",
        "§4.5",
        "share",
        0.002,
        InRow("lora_gain"),
        differs=_NEAR_MISTRAL,
    ),
)

EASY = (
    *_HEADS,
    Published(
        "low-kl",
        GPT2,
        5,
        "tokens of low KL, late blocks (8–11) as INT2",
        "§4.5",
        "share",
        0.301,
        InRow("kl_easy_share"),
        differs="below the median for each late block destroyed alone; the paper's criterion is not stated",
    ),
    *_ROUTED,
    *_LORA,
)
