"""What each claim would mean for compressing a model, if it held: the advice, the figures behind it, and what it leans on besides.

After Table 9 of arXiv:2604.20682, in our words. The paper goes from a claim straight to its advice; where that step is a statement of its
own that this suite measures, it is a :class:`Premise` here, so that a claim that holds does not carry advice that was measured to fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from claims import Verdict


@dataclass(frozen=True)
class Premise:
    """A predicate that the step from a claim to its advice rests on.

    ``says``: verdict on ``strict`` → what it means for the advice. ``unknown``: what is not known where it was not decided or not
    measured; ``""`` where that takes nothing away. ``fatal``: FALSIFIED, it takes the advice away although the claim holds.
    """

    predicate: str
    says: Mapping[Verdict, str]
    unknown: str = ""
    fatal: bool = False


@dataclass(frozen=True)
class Recommendation:
    """Advice that a claim on ``strict`` would carry.

    ``topic``: what it is about, where it is not given. ``figures``: predicate → what a practitioner reads it as. ``scope``: what the
    measurement leaves open whatever it found. ``opposite``: why the opposite is no advice where the claim is falsified. ``leans_on``:
    another claim → what is said where that one does not hold.
    """

    claim: int
    title: str
    topic: str
    text: str
    figures: Mapping[str, str]
    scope: str
    opposite: str
    premises: tuple[Premise, ...] = ()
    leans_on: Mapping[int, str] = field(default_factory=dict)


RECOMMENDATIONS = (
    Recommendation(
        1,
        "Score by effect on the output, not by variance",
        "how to score importance",
        "Do not choose what to prune or truncate by the variance of activations. Score directions by what removing them does to the output "
        "(KL or loss on text), or remove none and quantise all alike.",
        {
            "projection_ppl_ratio": "cost of keeping only the PCs with 90% of variance, over noise of the dropped variance",
            "subspace_overlap": "overlap of top PCs and predictive directions",
            "variance_ranks_importance": "rank correlation of a PC's variance with the KL of removing it",
            "predictive_gain": "R² that predictive directions gain over as many PCs, as a ratio − 1",
            "sensitivity_gini": "Gini of sensitivity over directions",
        },
        "Directions of the residual stream at mid-depth were removed; channels, heads and weights were not scored.",
        "It does not follow that variance is a safe score: measure the loss of what it would remove.",
        (
            Premise(
                "variance_ranks_importance",
                {Verdict.FALSIFIED: "variance did rank the effect of removing single directions here"},
                "whether variance ranks the effect of removing single directions",
                fatal=True,
            ),
            Premise(
                "sensitivity_gini",
                {Verdict.FALSIFIED: "quantising all alike is not supported here: some directions are far more sensitive than others"},
                "whether all directions are about as sensitive, which quantising all alike takes for granted",
            ),
            Premise(
                "predictive_gain",
                {Verdict.FALSIFIED: "directions chosen for the output explain hardly more of it than as many PCs: expect little"},
                "how much directions chosen for the output gain over PCs",
            ),
        ),
    ),
    Recommendation(
        2,
        "Replace at most one block by a linear map",
        "replacing blocks by linear maps",
        "Replace one block at most by a linear map; the last one is the one that was measured. Where that saves too little, quantise "
        "weights directly instead of replacing further blocks.",
        {
            "single_replacement": "ΔPPL/PPL of the last block's map",
            "compression": "parameters of that block over those of its map",
            "multi_replacement": "ΔPPL/PPL of maps for the last five blocks",
            "r2": "R² of the last block's map",
            "r2_lost": "R² lost when the five blocks before are replaced",
            "transfer": "least R² of that map fitted to another text",
            "downstream": "perplexity with all layers quantised directly",
        },
        "What the map costs in anything but perplexity was not measured.",
        "It does not follow that several blocks can be replaced, or that none can: read the figures of your own run of blocks.",
        (
            Premise(
                "compression",
                {Verdict.FALSIFIED: "the map is hardly smaller than the block, so even one replacement saves little"},
                "how much smaller the map is",
            ),
            Premise("transfer", {}, "whether the map serves text of another kind (give --corpus more than once)"),
            Premise("downstream", {}, "what quantising directly costs in perplexity"),
        ),
        {3: "That direct quantisation is the better way to save more is claim 3, which does not hold on strict here"},
    ),
    Recommendation(
        3,
        "Quantise weights directly",
        "direct quantisation",
        "Quantise weight matrices as they are. Do not factor or transform them first and quantise the result: at as many stored bits "
        "the error was larger in every layer.",
        {
            "wall_dct": "error of the cosine transform over direct INT4's",
            "wall_svd": "error of SVD factors over direct INT4's",
            "wall_random": "error of mixed bits in a random basis over direct INT4's",
            "wall_pca": "error of mixed bits in PCs over direct INT4's",
            "wall_cca": "error of mixed bits in the canonical basis over direct INT4's",
            "challenger_rotation": "error of a random rotation over direct INT4's",
            "challenger_hadamard": "error of a Hadamard rotation over direct INT4's",
            "challenger_gptq_factors": "error of GPTQ on factors over GPTQ's on the weight",
            "downstream": "perplexity with all layers quantised directly",
        },
        "Output errors of single layers were compared at about four bits; other widths and formats were not.",
        "It does not follow that transforming or factoring first is the better way: a smaller error in a layer's output is not a lower "
        "perplexity, and another method may still lose.",
        (
            Premise("strictly", {Verdict.FALSIFIED: "single layers are exceptions"}, "whether there are layers that are exceptions"),
            *(
                Premise(
                    name,
                    {Verdict.FALSIFIED: f"INT4 after a {what} did better than direct INT4: directly then means unfactored, not unrotated"},
                    f"whether a {what} before quantising does better",
                )
                for name, what in (("challenger_rotation", "random rotation"), ("challenger_hadamard", "Hadamard rotation"))
            ),
            Premise("downstream", {}, "what quantising directly costs in perplexity"),
        ),
    ),
    Recommendation(
        4,
        "Protect early blocks, compress late ones",
        "where to spend the compression budget",
        "Leave early blocks as they are and spend the compression budget on late ones.",
        {
            "depth_trend": "rank correlation of R² with depth",
            "depth_gain": "R² of the last block minus the first",
            "r2_guides": "rank correlation of R² with how cheap a block is to replace",
            "late_is_cheap": "rank correlation of depth with how cheap a block is to replace",
            "importance_u_shape": "KL of destroying the first or last block, the lesser, over the median of the middle",
        },
        "Depth orders blocks on the whole: look at the cost of the block that you mean to compress.",
        "It does not follow that early blocks are the ones to compress, or that all depths are alike.",
        (
            Premise(
                "r2_guides",
                {Verdict.FALSIFIED: "the blocks that a linear map fits best are not the cheap ones to replace"},
                "whether the blocks that a linear map fits are the cheap ones to replace",
                fatal=True,
            ),
            Premise(
                "late_is_cheap",
                {Verdict.FALSIFIED: "late blocks are not cheaper to replace than early ones"},
                "whether late blocks are cheaper to replace than early ones",
                fatal=True,
            ),
            Premise(
                "importance_u_shape",
                {
                    Verdict.HOLDS: "the last block matters as the first does: protect it too",
                    Verdict.FALSIFIED: "the first block or the last is no dearer to destroy than the middle ones, so protecting the ends "
                    "is not supported here",
                },
                "whether the first blocks matter more than those of the middle",
            ),
        ),
    ),
    Recommendation(
        5,
        "Consider per-token computation before more static compression",
        "per-token computation",
        "Before compressing further what every token passes through, consider spending less on the tokens that the middle of the model "
        "already decides.",
        {
            "exit_agreement": "share of tokens that a head at mid says as the model does",
            "exit_excess": "the same minus what a bigram table, or a head on the embeddings, reaches without context",
            "easy_sets_agree": "odds ratio of the two criteria at equal confidence",
            "routing_cost": "ΔPPL/PPL of leaving at the first head that is 95% sure",
        },
        "No static compression was compared at the same cost, and keys and values that a real early exit lacks cost nothing here.",
        "It does not follow that no token can be spared computation, or that static compression is the better choice.",
        (
            Premise(
                "routing_cost",
                {
                    Verdict.HOLDS: "not by leaving at the first head that is 95% sure, though, the one scheme measured: it is dear",
                    Verdict.FALSIFIED: "leaving at the first head that is 95% sure costs little perplexity here",
                },
                "what leaving early costs in perplexity, so measure that before building on it",
            ),
        ),
    ),
)
"""One for each claim, in their order."""
