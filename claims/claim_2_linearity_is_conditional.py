"""Claim 2: a block is linear only while its upstream is untouched."""

from claims.declared import LINEARITY as CLAIM
from claims.linearity import remarks


@CLAIM.predicate("r2")
def test_block_is_linear_on_its_own_inputs(block, rung, lab, verdict):
    """The best linear map explains what the block adds; the last block is the one judged."""
    verdict(lab.linearity(rung).r2.at(block), **remarks(lab, rung, block))
