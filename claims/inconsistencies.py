"""What does not add up in arXiv:2604.20682, is thin evidence for what it says, or follows from how it was taken, whatever the model.

Each is a statement about the paper's own text and figures, as printed; ``tests/test_inconsistencies.py`` computes what is arithmetic in
them from :mod:`claims.published`. They say how far figures can be replicated as they stand, and nothing about what a measurement would
give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from claims.published_figure import EITHER, GPT2, MISTRAL

HEADING = "What does not add up in the paper, or would follow whatever the model"

CONTRADICTION = "contradiction"
"""Figures or statements of the paper that stand against one another, as printed."""
DEFINITION = "follows from the definition, whatever the model"
"""What any model, or random numbers, would give."""
THIN = "thin evidence"
"""What may be so, and is not shown by what is given for it."""
KINDS = (CONTRADICTION, DEFINITION, THIN)


@dataclass(frozen=True)
class Inconsistency:
    """What the paper says, what stands against it, and of which of :data:`KINDS` that is. ``claim`` as of ``Claim.key``."""

    ident: str
    models: tuple[str, ...]
    claim: int | Literal["appendix"]
    kind: str
    says: str
    against: str

    @property
    def told(self) -> str:
        """Both in a line, after the kind."""
        return f"{self.kind}: {self.says} {self.against}"


INCONSISTENCIES: tuple[Inconsistency, ...] = (
    Inconsistency(
        "eq3-against-title",
        GPT2,
        1,
        CONTRADICTION,
        "Eq. 3: importance is variance × sensitivity, and sensitivity is about uniform over the 768 directions (§4.1).",
        "Then importance is proportional to variance, which is the opposite of the claim.",
    ),
    Inconsistency(
        "overlap-is-chance",
        MISTRAL,
        1,
        THIN,
        "4% overlap of 128 PCA and 128 CCA directions, of 4,096, is given as “96% uncorrelated”.",
        "Any two random subspaces of that size share about 128/4,096 = 3.1%: 4% shows neither correlation nor its absence.",
    ),
    Inconsistency(
        "table-2-rows",
        GPT2,
        2,
        CONTRADICTION,
        "Table 2 has R² of GPT-2 at rows 15, 25 and 31.",
        "GPT-2 has 12 blocks, 0 to 11, so that these rows are no blocks of it.",
    ),
    Inconsistency(
        "r2-of-gpt2",
        GPT2,
        2,
        CONTRADICTION,
        "The text gives 0.94 for GPT-2, one abstract 0.95.",
        "Table 2 has 0.948 to 0.950, of which none rounds to 0.94.",
    ),
    Inconsistency(
        "r2-is-the-cap",
        GPT2,
        2,
        DEFINITION,
        "R² of GPT-2 is 0.948 to 0.950 in every row of Table 2.",
        "Eq. 2 keeps the fewest directions with 95% of the energy of Δ, which R² cannot exceed: rows at 0.95 say little more.",
    ),
    Inconsistency(
        "r2-below-noise",
        MISTRAL,
        2,
        THIN,
        "Mistral's R² at B5 is 0.452, in sample, from 8,192 tokens and 4,096 dimensions.",
        "Least squares on noise gives 4,096/8,192 = 0.50, 0.475 after V_k: unless λ, which is not given, is large, 0.452 is no more.",
    ),
    Inconsistency(
        "rotated",
        GPT2,
        3,
        CONTRADICTION,
        "Table 3: rotated INT8/INT2 is 24.8× worse.",
        "§5.5 has 20–21× for INT8 and INT2 in a PCA or CCA basis: another figure for what seems the same. It names no model.",
    ),
    Inconsistency(
        "strictly-superior",
        EITHER,
        3,
        THIN,
        "Quantising directly is called “strictly superior”.",
        "Table 3 has three methods at one budget on one model, and GPTQ-style error feedback is said to avoid the wall.",
    ),
    Inconsistency(
        "gpt2-does-not-rise",
        GPT2,
        4,
        CONTRADICTION,
        "Linearity increases with depth.",
        "Over the rows of Table 2 GPT-2's R² spans 0.002, and its first and last rows differ by 0.001.",
    ),
    Inconsistency(
        "monotonic",
        MISTRAL,
        4,
        THIN,
        "The rise of R² with depth is called monotonic.",
        "Five of 32 blocks are shown.",
    ),
    Inconsistency(
        "late-is-not-cheap",
        GPT2,
        4,
        CONTRADICTION,
        "Table 9: protect early blocks, and spend the compression budget on late ones.",
        "Destroying the last block, B11, costs a KL of 1.1, more than any of B3 to B10.",
    ),
    Inconsistency(
        "low-kl-below-median",
        GPT2,
        5,
        CONTRADICTION,
        "30.1% of tokens have a “low KL (below median)”.",
        "Half of any tokens are below their median: the criterion must be another, and is not stated.",
    ),
    Inconsistency(
        "plateau",
        MISTRAL,
        5,
        CONTRADICTION,
        "§4.5: the agreement of trained heads has a plateau at about 30%.",
        "After 10K steps heads, Mistral's among them, agree on 35–53%: even the least is above 30%, which was no plateau then.",
    ),
    Inconsistency(
        "blocks-saved",
        MISTRAL,
        5,
        CONTRADICTION,
        "Table 8: leaving at B15, B23, B27 saves 53, 28, 16% of 32 blocks.",
        "That is 17, 9, 5 of 32: so if blocks count from 1, or heads read inputs. From 0, as in Table 2, 16, 8, 4 follow the outputs.",
    ),
    Inconsistency(
        "shares-of-kmeans",
        MISTRAL,
        "appendix",
        CONTRADICTION,
        "§5.2: 60% of the gain of k-means, 1.6×, comes from Gaussian levels.",
        "NF4, which is Gaussian levels, gives 1.21×: 35% of the gain, 41% of its logarithm, 46% of the error removed.",
    ),
    Inconsistency(
        "gini-of-random",
        EITHER,
        "appendix",
        DEFINITION,
        "Table 5: squared DCT coefficients of a random matrix have a Gini of about 0.30, those of layers 0.63–0.65.",
        "Squared Gaussian coefficients have 2/π = 0.637: by this measure the layers are as a random matrix is.",
    ),
    Inconsistency(
        "energy-of-random",
        EITHER,
        "appendix",
        DEFINITION,
        "The top 25% of coefficients hold 72% of the energy.",
        "So do they of a Gaussian matrix: 72.4%.",
    ),
    Inconsistency(
        "phases-leave-out",
        GPT2,
        "appendix",
        THIN,
        "Four phases: B0, B2–4, B5–9, B11.",
        "They hold 10 of 12 blocks: B1 and B10 are in none.",
    ),
    Inconsistency(
        "part-above-whole",
        GPT2,
        "appendix",
        CONTRADICTION,
        "Table 7: destroying the attention of B0 costs a KL of 4.7.",
        "§4.4: destroying all of a block among B0–2 costs 3 to 4.5, less than that part alone; KLs need not add up.",
    ),
    Inconsistency(
        "which-side-of-b2",
        GPT2,
        "appendix",
        CONTRADICTION,
        "§4.4 has B0–2 as a matter of attention.",
        "Table 7: in B2 to B4 destroying attention costs 0.2–0.3, the MLP 0.3–2.1: as printed, no less in any of them, B2 included.",
    ),
)


def inconsistencies_of(model: str) -> list[Inconsistency]:
    """Return those that concern the figures of a model."""
    return [one for one in INCONSISTENCIES if model in one.models]
