"""The laboratory: what can be asked of one model on one corpus. Every measurement is made once and kept (:mod:`harness.measuring`)."""

from __future__ import annotations

import contextlib
from typing import cast

from harness import measurement as m
from harness.concentration import Concentration
from harness.destroyed import LastMlp, LateBlocks, Profile
from harness.easy_protocol import FEWEST_BLOCKS
from harness.errors import MeasurementError, again
from harness.exits import Adapted, Exit, Heads
from harness.linearity import Linearity
from harness.map_file import SavedMaps
from harness.measuring import Measuring
from harness.quantised import Quantised
from harness.reconstruction import Reconstruction
from harness.replacement import Each, Runs, Shift
from harness.spectra import Spectra
from harness.transfer import Scores, Transfer
from harness.variance import Ablation, LogitChange, Projection, Sensitivity, Subspaces


class Laboratory(Measuring):
    """Measure one model on one corpus under one protocol, by rung."""

    def linearity(self, rung: str) -> Linearity:
        """Linearity of every block; one sweep serves ``paper``, ``held-out`` and ``typical``, another ``strict``."""
        return cast(Linearity, self._find((m.RANK, m.AFFINE), rung))

    def spectra(self, rung: str) -> Spectra:
        """Variance along the PCs of every block's output, of all tokens or of typical ones."""
        return cast(Spectra, self._find((m.SPECTRA,), rung))

    def subspaces(self, rung: str) -> Subspaces:
        """Predictive directions of mid, beside its PCs."""
        return cast(Subspaces, self._find(m.SUBSPACES, rung))

    def projection(self, rung: str) -> Projection:
        """What projecting onto PCs costs."""
        return cast(Projection, self._find(m.PROJECTION, rung))

    def ablation(self, rung: str) -> Ablation:
        """What ablating one PC at a time costs."""
        return cast(Ablation, self._find(m.ABLATION, rung))

    def sensitivity(self, rung: str) -> Sensitivity:
        """What a push along one direction at a time costs."""
        return cast(Sensitivity, self._find(m.SENSITIVITY, rung))

    def logit_change(self, rung: str) -> LogitChange:
        """How ablated scores correlate with the change of logits."""
        return cast(LogitChange, self._find(m.LOGIT_CHANGE, rung))

    def runs(self, rung: str) -> Runs:
        """What replacing the last block, and five blocks together, costs."""
        return cast(Runs, self._find(m.RUNS, rung))

    def shift(self, rung: str) -> Shift:
        """How linear blocks stay when those before them are replaced."""
        return cast(Shift, self._find(m.SHIFT, rung))

    def each(self, rung: str) -> Each:
        """What replacing every single block costs."""
        return cast(Each, self._find(m.EACH, rung))

    def arena(self, rung: str) -> Reconstruction:
        """Errors of every layer stored by every method, beside direct quantisation."""
        return cast(Reconstruction, self._find(m.ARENA, rung))

    def challenged(self, rung: str) -> Reconstruction:
        """The same of GPTQ, on the weight and on its factors."""
        return cast(Reconstruction, self._find((m.CHALLENGED,), rung))

    def quantised(self, rung: str) -> Quantised:
        """What storing all layers of all blocks by a method costs."""
        return cast(Quantised, self._find(m.QUANTISED, rung))

    def concentration(self, rung: str) -> Concentration:
        """How concentrated the cosine transform of the weights is."""
        return cast(Concentration, self._find((m.CONCENTRATION,), rung))

    def exit(self, rung: str) -> Exit:
        """What a head trained at mid says, beside the whole model, naive heads and a bigram table."""
        return cast(Exit, self._find(m.EXIT, rung))

    def later_exits(self, rung: str) -> Heads:
        """What heads trained at the later exits say."""
        return cast(Heads, self._find(m.LATER_EXITS, rung))

    def lowest_exit(self, rung: str) -> Heads:
        """What a head trained on the embeddings says."""
        return cast(Heads, self._find(m.LOWEST_EXIT, rung))

    def distilled_exit(self, rung: str) -> Heads:
        """What a head at mid says that was trained to the full model's distribution."""
        return cast(Heads, self._find(m.DISTILLED_EXIT, rung))

    def lora(self, rung: str) -> Adapted:
        """What a head at mid and the model itself say when both were trained together, the model by a LoRA."""
        return cast(Adapted, self._find(m.LORA, rung))

    def late_blocks(self, rung: str) -> LateBlocks:
        """What destroying late blocks does to every position."""
        return cast(LateBlocks, self._find(m.LATE_BLOCKS, rung))

    def profile(self, rung: str) -> Profile:
        """What destroying each block, its attention or its MLP costs."""
        return cast(Profile, self._find(m.PROFILE, rung))

    def last_mlp(self, rung: str) -> LastMlp:
        """What the last block costs without its MLP's output, or with its mean."""
        return cast(LastMlp, self._find(m.LAST_MLP, rung))

    def saved_maps(self, rung: str) -> SavedMaps | None:
        """The file that keeps a rung's maps, fitted and written unless it is there; None where none are to be kept."""
        if self._bench.maps is None:
            return None
        from harness.saving_maps import save_maps

        self.written["maps"] = saved = save_maps(self, self._bench, self._bench.maps, rung)
        return saved

    def keep_tokens(self, rung: str) -> str | None:
        """Write what exits and late blocks say of every token; returns the name of the run's file, None where none is asked for.

        Raises MeasurementError where it cannot be written.
        """
        table = self._bench.tokens
        if table is None:
            return None
        late, handed = None, dict(self.handed)
        if self.model.n_blocks >= FEWEST_BLOCKS:
            with contextlib.suppress(MeasurementError):  # It is told where it is judged; here its columns stay empty.
                late = self.late_blocks(rung)
        self.handed = handed  # No figure rests on what only the table has.
        try:
            self.written["tokens"] = file = table.keep(self.model.name, self.corpus.name, rung, self.exit(rung), late)
        except MeasurementError as error:
            self.written["tokens"] = again(error)
            raise
        return file

    def transfer(self, rung: str) -> Transfer | None:
        """How the last block's maps of all texts do on this one; None when no other text is at hand."""
        if not self._elsewhere(rung):
            return None
        return Transfer(tuple(self._maps(rung)), cast(Scores, self._find(m.TRANSFER, rung)))
