"""Claim 4: the deeper a block, the more linear it is."""

from claims import destruction, replacement
from claims.declared import DEPTH as CLAIM
from claims.linearity import remarks
from claims.remarks import hand_over
from harness.statistics import kendall_with_depth, spearman_with_depth


@CLAIM.predicate("depth_trend")
def test_linearity_rises_with_depth(rung, lab, verdict):
    """Spearman's correlation of R² with depth, over all blocks."""
    verdict(lab.linearity(rung).r2.map(spearman_with_depth), **remarks(lab, rung, ordered=True))


@CLAIM.predicate("depth_gain")
def test_the_last_block_is_more_linear_than_the_first(rung, lab, verdict):
    """R² of the last block minus R² of the first."""
    verdict(lab.linearity(rung).r2.map(lambda r2: r2[-1] - r2[0]), **remarks(lab, rung))


@CLAIM.predicate("monotonic")
def test_linearity_never_falls(rung, lab, verdict):
    """Kendall's τ of R² with depth: the paper calls the rise monotonic and shows five blocks of 32."""
    verdict(lab.linearity(rung).r2.map(kendall_with_depth), **remarks(lab, rung, ordered=True))


@CLAIM.predicate("importance_u_shape")
def test_the_first_and_the_last_block_matter_most(rung, lab, verdict):
    """The lesser of the KLs of destroying the first and the last block over the median of the blocks in the middle."""
    hand_over(verdict, destruction.u_shape(lab, rung))


@CLAIM.predicate("r2_guides")
def test_linear_blocks_are_cheap_to_replace(rung, lab, verdict):
    """Spearman's correlation over blocks of R² with −ΔPPL when that block alone is replaced."""
    verdict(replacement.guides(lab, rung), **replacement.of_each(lab, rung, ordered=True))


@CLAIM.predicate("late_is_cheap")
def test_late_blocks_are_cheap_to_replace(rung, lab, verdict):
    """Spearman's correlation over blocks of depth with −ΔPPL when that block alone is replaced."""
    verdict(replacement.late_is_cheap(lab, rung), **replacement.of_each(lab, rung))
