"""Claim 2: a block is linear only while its upstream is untouched."""

from claims.declared import LINEARITY as CLAIM

MEASURED_RUNGS = ("paper", "held-out")


@CLAIM.predicate("r2", rungs=MEASURED_RUNGS)
def test_block_is_linear_on_its_own_inputs(block, rung, lab, verdict):
    """The best ridge map of Eq. 2 explains what the block adds; the last block is the one judged."""
    linearity = lab.linearity
    verdict(
        linearity.r2[rung].at(block),
        note=f"V_k: k = {linearity.rank[block]:.0f} of {lab.subject.anatomy.width}, which caps R² at {linearity.cap[block]:.3f}",
    )
