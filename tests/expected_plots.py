"""What every plot of the small report must show: its sentence, and its series (:mod:`tests.made_evidence`)."""

from __future__ import annotations

from typing import Any

# (predicate, title, sentence, series: (x, value) or (x, value, low, high))
Expected = tuple[str, str, str, dict[str, list[tuple[Any, ...]]]]
EXPECTED: list[Expected] = [
    (
        "r2",
        "r2, block 2: figure and interval by rung, against the bounds",
        "On paper, 0.900 [0.850, 0.950]: HOLDS (holds at ≥ 0.8, falsified at ≤ 0.5). "
        "On strict, 0.600 [0.450, 0.750]: INCONCLUSIVE (holds at ≥ 0.8, falsified at ≤ 0.5).",
        {"figure and interval": [(0, 0.9, 0.85, 0.95), (1, 0.6, 0.45, 0.75)]},
    ),
    (
        "r2",
        "R² of the best linear map of what each block adds",
        "On paper, R² rises from 0.400 at block 0 to 0.900 at block 2. "
        "The last block, 0.900 [0.850, 0.950]: HOLDS (holds at ≥ 0.8, falsified at ≤ 0.5). "
        "On strict, R² rises from 0.300 at block 0 to 0.600 at block 2 (least 0.200 at block 1). "
        "The last block, 0.600 [0.450, 0.750]: INCONCLUSIVE (holds at ≥ 0.8, falsified at ≤ 0.5).",
        {
            "paper": [(0, 0.4, 0.35, 0.45), (1, 0.7, 0.65, 0.75), (2, 0.9, 0.85, 0.95)],
            "strict": [(0, 0.3, 0.2, 0.4), (1, 0.2, 0.1, 0.3), (2, 0.6, 0.45, 0.75)],
        },
    ),
    (
        "projection_ppl_ratio",
        "Perplexity after projection onto k directions (strict)",
        "On strict, perplexity: untouched 10, onto the PCs with 90% of variance 20. "
        "On strict, perplexity at k = 2: the most predictive 30, PCs 40, a random subspace 400. "
        "On strict, perplexity at k = 8: PCs 15, the most predictive 25, a random subspace 100.",
        {"PCs": [(2, 40), (8, 15)], "a random subspace": [(2, 400), (8, 100)], "the most predictive": [(2, 30), (8, 25)]},
    ),
    (
        "subspace_overlap",
        "Overlap of the top PCs at mid with the directions that predict the final stream",
        "On paper: chance 0.100, 1 λ 0.200, two halves of the text 0.700.",
        {"paper": [(0, 0.1), (1, 0.15), (2, 0.2), (3, 0.2), (4, 0.5), (5, 0.4), (6, 0.01, 0, 0.02), (7, 0.3, 0.25, 0.4), (8, 0.7)]},
    ),
    (
        "variance_ranks_importance",
        "Variance of single PCs at mid and KL of ablating it, each over its greatest (strict)",
        "On strict, variance is greatest at rank 1. On strict, KL of ablating it is greatest at rank 1.",
        {"variance": [(1, 1), (4, 0.25)], "KL of ablating it": [(1, 1), (4, 0.2)]},
    ),
    (
        "predictive_gain",
        "Held-out R² of the final stream from k directions at mid (paper)",
        "On paper, R² at k = 2: PCs 0.200, CCA 0.300, regression 0.350. On paper, R² at k = 4: PCs 0.400, CCA 0.500.",
        {"PCs": [(2, 0.2), (4, 0.4)], "CCA": [(2, 0.3), (4, 0.5)], "regression": [(2, 0.35), (4, None)]},
    ),
    (
        "sensitivity_gini",
        "Variance of single PCs at mid and KL of a push along it, each over its greatest (strict)",
        "On strict, variance is greatest at rank 1. On strict, KL of a push along it is greatest at rank 4. "
        "Random directions: 0.200 nats in the mean, the PCs 0.400 at most.",
        {"variance": [(1, 1), (4, 0.25)], "KL of a push along it": [(1, 0.5), (4, 1)]},
    ),
    (
        "logit_change_correlation",
        "First canonical correlation of scores on directions ablated together with the change of logits",
        "On strict: random subspaces in the mean 0.650, PCs 0.900.",
        {"PCs": [(0, 0.9)], "random subspaces: mean, least to greatest": [(0, 0.65, 0.5, 0.75)]},
    ),
    (
        "dimensions_90",
        "How many PCs hold 90, 95, 99% of the variance of every block's output",
        "For 90%, typical tokens, the number of PCs rises from 2 at block 0 to 3 at block 2 (least 1 at block 1). "
        "For 95%, typical tokens, the number of PCs rises from 3 at block 0 to 4 at block 2 (least 2 at block 1). "
        "For 99%, typical tokens, the number of PCs rises from 5 at block 0 to 6 at block 2 (least 4 at block 1).",
        {
            "90%, typical tokens": [(0, 2), (1, 1), (2, 3)],
            "95%, typical tokens": [(0, 3), (1, 2), (2, 4)],
            "99%, typical tokens": [(0, 5), (1, 4), (2, 6)],
        },
    ),
    (
        "dimensions_90",
        "Share of variance by rank of the PC at mid (the output of block 1)",
        "Of all tokens, the first PC holds 50% of the variance, the first 4 hold 100%.",
        {"all tokens": [(1, 0.5), (2, 0.25), (3, 0.125), (4, 0.125)]},
    ),
    (
        "dimensions_95",
        "How many PCs hold 95% of the variance of every block's output",
        "For 95%, typical tokens, the number of PCs rises from 3 at block 0 to 4 at block 2 (least 2 at block 1).",
        {"95%, typical tokens": [(0, 3), (1, 2), (2, 4)]},
    ),
    (
        "dimensions_99",
        "How many PCs hold 99% of the variance of every block's output",
        "For 99%, typical tokens, the number of PCs rises from 5 at block 0 to 6 at block 2 (least 4 at block 1).",
        {"99%, typical tokens": [(0, 5), (1, 4), (2, 6)]},
    ),
    (
        "r2_lost",
        "R² of the map of block 2 when the j blocks before it are replaced by theirs",
        "On paper, R² falls from 0.900 at j = 0 to 0.600 at j = 2.",
        {"paper": [(0, 0.9), (1, 0.8), (2, 0.6)]},
    ),
    (
        "single_replacement",
        "The last block replaced: perplexity by what stands in its place",
        "On strict, perplexity: the block itself 10, the other kind of map 11, its map 12, its mean output 40, nothing: skipped 80.",
        {"strict": [(0, 10), (1, 12), (2, 11), (3, 40), (4, 80)]},
    ),
    (
        "compression",
        "Parameters of the last block and of what replaces it",
        "On paper the block has 15 times the parameters of its map (3,000 over 200).",
        {"paper": [(0, 3000), (1, 3000), (2, 200), (3, 600)]},
    ),
    (
        "multi_replacement",
        "Blocks 1 to 2 replaced: perplexity by way",
        "On paper, perplexity: untouched 10, refitted one after another 25, maps 30, mean outputs 200, skipped 900.",
        {"paper": [(0, 10), (1, 30), (2, None), (3, 25), (4, 200), (5, 900)]},
    ),
    (
        "multi_replacement",
        "Block 1 replaced: perplexity by way",
        "On paper, perplexity: untouched 10, maps 11, the same maps at true inputs 12.",
        {"paper": [(0, 10), (1, 11), (2, 12), (3, None), (4, None), (5, None)]},
    ),
    (
        "shift_excess",
        "What maps cost one by one and together: errors that add up, and the shift",
        "On paper, nats per position: the sum of each alone 0.750, together at true inputs 1.20, on their own stream 1.50. "
        "The shift of the stream costs 0.300.",
        {"paper": [(0, 0.25), (1, 0.5), (2, 0.75), (3, 1.2), (4, 1.5)]},
    ),
    (
        "transfer",
        "The last block's map of every text on every other: R² (paper)",
        "On prose, R² of maps is least for code (0.500) and most for prose (0.900). "
        "On code, R² of maps is least for prose (−0.250) and most for code (0.800).",
        {"map of prose": [(0, 0.9), (1, -0.25)], "map of code": [(0, 0.5), (1, 0.8)]},
    ),
    (
        "wall_dct",
        "Error of every method over direct quantisation with as many bits, mean over all layers",
        "On paper, 1 of 2 methods lie below direct quantisation: DCT.",
        {"paper": [(0, 0.5, 0.4, 0.6), (1, 2, 1.5, 3)]},
    ),
    (
        "wall_dct",
        "DCT over direct quantisation, by block: geometric mean over its layers",
        "On paper direct quantisation loses in 1 of 2 blocks.",
        {"paper": [(0, 0.4), (1, 1.5)]},
    ),
    (
        "wall_dct",
        "Layers on which direct quantisation loses to DCT, by kind",
        "On paper, 3 of 4 layers do better than direct quantisation.",
        {"paper": [(0, 2), (1, 1)]},
    ),
    (
        "cross_terms",
        "The error of quantised SVD factors, by part, over that of direct quantisation",
        "On paper, over direct quantisation: product 0.100, cross-terms 0.500, truncation 1.50, all together 2.",
        {"paper": [(0, 1.5), (1, 0.5), (2, 0.1), (3, 2)]},
    ),
    (
        "downstream",
        "All linear layers of all blocks quantised: perplexity by method",
        "On paper, perplexity is least for <b>mine</b> (16) and most for direct INT4 (20).",
        {"paper": [(0, 20, 15, 25), (1, 16)]},
    ),
    (
        "r2_guides",
        "Each block replaced by its map, alone: KL from the untouched model",
        "On strict, KL falls from 0.400 at block 0 to 0.050 at block 2.",
        {"strict": [(0, 0.4), (1, 0.1), (2, 0.05)]},
    ),
    (
        "r2_guides",
        "Does R² say which block is cheap to replace? A point for each block",
        "The rank correlation of R² with cheapness has no figure.",
        {"strict": [(0.3, 0.4), (0.6, 0.1), (0.9, 0.05)]},
    ),
    (
        "r2_guides",
        "Each block replaced alone, beside doing less (strict): ΔNLL",
        "On strict the map costs less than skipped in 2 of 3 blocks. On strict the map costs less than its mean output in 3 of 3 blocks.",
        {"its map": [(0, 0.5), (1, 0.2), (2, 0.1)], "skipped": [(0, 2), (1, 0.1), (2, 3)], "its mean output": [(0, 1), (1, 0.3), (2, 2)]},
    ),
    (
        "importance_u_shape",
        "Every block destroyed, alone: KL from the clean model (strict)",
        "On strict, destroying the whole block costs 2 nats for block 0 and 4 for block 2; "
        "least 1 (block 1), most 4 (block 2). The median of the middle is 1. "
        "Attention costs more than the MLP in 2 of 3 blocks.",
        {
            "the whole block": [(0, 2), (1, 1), (2, 4)],
            "its attention": [(0, 1.5), (1, 0.25), (2, 3)],
            "its MLP": [(0, 0.5), (1, 0.5), (2, 1)],
        },
    ),
    (
        "exit_agreement",
        "Agreement with the full model's top-1 token, by the block that is read (paper)",
        "On paper, agreement at block 1: trained head 0.300.",
        {"trained head": [(1, 0.3), (2, 0.5)]},
    ),
    (
        "exit_agreement",
        "Agreement with the full model's top-1 token, by the block that is read (strict)",
        "On strict, agreement at block 1: naive head 0.100, head on the embeddings 0.150, "
        "bigram table 0.200, half the text 0.280, trained head 0.300.",
        {"trained head": [(1, 0.3)], "naive head": [(1, 0.1), (2, 0.25)], "trained: half the text": [(1, 0.28)]},
    ),
    (
        "exit_agreement",
        "Training of the exit head at mid: loss by step",
        "On strict, held-out NLL is 7 after 100 steps, least 6 after 50.",
        {"strict: training loss": [(0, None), (50, 5), (100, 3)], "strict: held-out NLL": [(0, 9), (50, 6), (100, 7)]},
    ),
    (
        "exit_agreement",
        "Training of the exit head at mid: agreement with the full model by step",
        "On strict, held-out agreement rises from 0.050 at step 0 to 0.300 at step 100.",
        {"strict": [(0, 0.05), (50, 0.2), (100, 0.3)]},
    ),
    (
        "kl_easy_share",
        "Easy tokens, reading A: share below the median KL for every late block",
        "On paper: by chance 0.250, below every median 0.280.",
        {"paper": [(0, 0.25), (1, 0.28)]},
    ),
    (
        "kl_easy_share",
        "Easy tokens, reading A: median KL of each late block destroyed alone",
        "On paper, the median KL rises from 0.500 at block 2 to 2 at block 3.",
        {"paper": [(2, 0.5), (3, 2)]},
    ),
    (
        "kl_easy_share",
        "Easy tokens, reading B: share with KL up to τ when all late blocks are destroyed together",
        "On paper, the share with KL up to τ rises from 0.100 at τ = 0.01 to 0.600 at τ = 1.",
        {"paper": [(0.01, 0.1), (1, 0.6)]},
    ),
    (
        "easy_sets_agree",
        "Do the two criteria choose the same tokens? Odds ratio by the full model's confidence",
        "On strict, odds ratio: at equal confidence 1.50, whatever the confidence 3. It is above 1 in 1 of 2 strata.",
        {"strict": [(0.25, 0), (0.75, 2)]},
    ),
    (
        "routing_cost",
        "Perplexity over the share of the blocks' operations that early exit saves (paper)",
        "At confidence 0.950, exits save 10% (with the heads' own operations they cost 30% more), at perplexity 12, at random 20. "
        "At confidence 0.500, exits save 40% (with the heads' own operations they save 25%), at perplexity 40.",
        {"by confidence": [(0.1, 12), (0.4, 40)], "at random": [(0.1, 20), (0.4, None)]},
    ),
    (
        "routing_cost",
        "Are heads as often right as they are confident? (paper)",
        "The head at block 1 is surer than right in 1 of 2 bins, expected calibration error 0.200.",
        {"head at block 1": [(0.25, 0.3), (0.75, 0.5)], "as right as sure": [(0, 0), (1, 1)]},
    ),
    (
        "spectral_gini_excess",
        "Concentration of the cosine transform of layers' weights",
        "The Gini of layers' weights exceeds that of shuffled ones by 0.010 in the mean.",
        {"layers' weights": [(0, 0.64, 0.6, 0.7), (1, 0.63, 0.62, 0.64), (2, 0.7, 0.6, 0.8), (3, None)]},
    ),
    (
        "spectral_gini_excess",
        "Gini of the cosine transform over that of shuffled weights, by block",
        "On all blocks, the excess is least for block 1 (0.005) and most for block 0 (0.020).",
        {"excess": [(0, 0.02), (1, 0.005)]},
    ),
    (
        "spectral_gini_excess_embeddings",
        "Concentration of the cosine transform of embeddings",
        "The Gini of embeddings exceeds that of shuffled ones by 0.200 in the mean.",
        {"embeddings": [(0, 0.8, 0.75, 0.85), (1, 0.6, 0.55, 0.65), (2, None), (3, None)]},
    ),
    (
        "kmeans_gain",
        "Codebooks: what they gain over uniform levels of no fewer stored bits",
        "On strict, the gain is least for NF4, one for 64 weights (1.25) and most for k-means, one for a tensor (2).",
        {"strict": [(0, 2, 1.25, 2.5), (1, 1.25, 1, 2)]},
    ),
    (
        "mlp_skip",
        "The last block's MLP skipped, and replaced by its mean output: perplexity",
        "On strict, perplexity: untouched 10, its mean output 40, skipped 90.",
        {"strict": [(0, 10), (1, 90), (2, 40)]},
    ),
]
