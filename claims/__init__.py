"""What is asserted: claims, their bounds and verdicts, and one test file a claim."""

from claims.claim import Claim, Predicate
from claims.declared import CLAIMS
from claims.verdicts import Bound, Verdict

__all__ = ["CLAIMS", "Bound", "Claim", "Predicate", "Verdict"]
