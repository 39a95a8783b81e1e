"""Claim 5: about 30% of tokens are decided by the middle of the model."""

from claims import destruction
from claims.declared_easy import EASY as CLAIM
from claims.remarks import hand_over


@CLAIM.predicate("kl_easy_share")
def test_tokens_that_no_late_block_matters_to(rung, lab, verdict):
    """Share of tokens whose KL is below the median for each late block destroyed alone."""
    hand_over(verdict, destruction.easy_share(lab, rung))
