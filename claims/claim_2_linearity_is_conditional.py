"""Claim 2: a block is linear only while its upstream is untouched."""

from claims import replacement
from claims.declared import LINEARITY as CLAIM
from claims.linearity import remarks


@CLAIM.predicate("r2")
def test_block_is_linear_on_its_own_inputs(block, rung, lab, verdict):
    """The best linear map explains what the block adds; the last block is the one judged."""
    verdict(lab.linearity(rung).r2.at(block), **remarks(lab, rung, block))


@CLAIM.predicate("r2_lost")
def test_linearity_is_lost_when_the_blocks_before_change(rung, lab, verdict):
    """R² of the last block's map on clean input, minus R² where the five blocks before are replaced by theirs."""
    verdict(lab.shift(rung).lost(in_sample=rung == "paper"), **replacement.of_shift(lab, rung))


@CLAIM.predicate("single_replacement")
def test_one_block_is_cheap_to_replace(rung, lab, verdict):
    """Perplexity with the last block replaced by its map, over perplexity before, minus 1."""
    verdict(lab.runs(rung).single, **replacement.of_single(lab, rung))


@CLAIM.predicate("compression")
def test_a_map_is_much_smaller_than_its_block(rung, lab, verdict):
    """Parameters of the last block over those of its map."""
    verdict(lab.runs(rung).compression, **replacement.of_compression(lab, rung))


@CLAIM.predicate("multi_replacement")
def test_five_blocks_are_costly_to_replace(rung, lab, verdict):
    """Perplexity with the last five blocks replaced by maps of the clean run, over perplexity before, minus 1."""
    verdict(lab.runs(rung).multiple, **replacement.of_multiple(lab, rung))


@CLAIM.predicate("shift_excess")
def test_the_shift_costs_beyond_errors_that_add_up(rung, lab, verdict):
    """Cost of five maps on the stream that they shift, over their cost at the true inputs: teacher forcing."""
    verdict(lab.runs(rung).shift_excess, **replacement.of_shift_excess(lab, rung))


@CLAIM.predicate("compounding")
def test_errors_of_five_maps_at_true_inputs_against_each_alone(rung, lab, verdict):
    """Cost of five maps at true inputs over the sum of what each costs alone."""
    verdict(lab.runs(rung).compounding, **replacement.of_compounding(lab, rung))


@CLAIM.predicate("transfer")
def test_the_map_of_one_text_on_another(rung, lab, verdict):
    """R² of the last block's map on text that it was not fitted to: the data as upstream."""
    verdict(replacement.transfer(lab, rung), **replacement.of_transfer(lab, rung))
