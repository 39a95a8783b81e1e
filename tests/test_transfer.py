"""The map of one text on another: scores equal a brute-force computation, and a run over several texts makes the whole matrix."""

from __future__ import annotations

import types

import numpy as np
import pytest
import torch

from harness import transferring
from harness.admission import dissect
from harness.linearity import CALIBRATION, EVALUATION
from harness.measurement import INTERVENTION, LAST_MAP, TRANSFER
from harness.transfer import LastMap, Scores, Transfer
from harness.work import Work
from tests import planted_replacement, planted_variance
from tests.conftest import ROOT
from tests.kept_streams import keep
from tests.replacement_oracle import r2
from tests.test_replacing import CLOSE, IDS, LAST, OWN, PROTOCOL, TOKENS, D, Oracle, model  # noqa: F401

DRAW = np.random.default_rng(1)
OTHER = {split: DRAW.integers(0, 30, (count, TOKENS)) for split, count in ((CALIBRATION, 9), (EVALUATION, 6), (INTERVENTION, 4))}
TEXTS = {"own": OTHER, "other": OWN}


@pytest.fixture(scope="module")
def found(model):  # noqa: F811
    """Scores on one text of its own map and of another text's, by rung."""
    anatomy, cpu, nothing = dissect(model), torch.device("cpu"), lambda done, total: None
    arrays = {}
    for place, layout in enumerate(("paper", "strict")):
        maps = {}
        for name, ids in TEXTS.items():
            splits = ids if layout == "strict" else {split: ids[split] for split in IDS}
            subject = types.SimpleNamespace(anatomy=anatomy, device=cpu)
            streams = keep(anatomy, splits, PROTOCOL, None, cpu, nothing)
            work = Work(subject, LAST_MAP[place], splits, PROTOCOL, nothing, None, lambda kept=streams: kept, None, dict)
            sizes = {"G": 4, "W": 4, "S": 6, "d": D, "B": 7}
            parts = {rung: {} for rung in work.rungs}
            for path, array in transferring.measure_map(work).items():
                parts[path.split("/")[0]][path.split("/")[1]] = array
            maps[name] = {rung: LastMap.of(part, sizes) for rung, part in parts.items()}
        needed = {split: OTHER[split] for split in TRANSFER[place].needs()}
        work = Work(subject, TRANSFER[place], needed, PROTOCOL, nothing, None, None, None, lambda made=maps: made)
        for path, array in transferring.measure(work).items():
            arrays.setdefault(path.split("/")[0], {})[path.split("/")[1]] = array
    return {rung: Transfer(("own", "other"), Scores.of(parts, {})) for rung, parts in arrays.items()}


@pytest.mark.parametrize("rung", ["paper", "typical", "strict"])
def test_maps_of_both_texts_are_scored_on_one(model, found, rung):  # noqa: F811
    """Costs by window, and R² over the same ‖Δ‖² for both maps: about the mean of the text's own calibration on strict."""
    own, other = Oracle(model, rung, OTHER), Oracle(model, rung)
    a, (mine, _, mean) = found[rung].scores.arrays, own.whole(LAST)
    given, after = own.evaluation.clean[LAST]
    for i, each in enumerate((mine, other.whole(LAST)[0])):
        nll, kl = own.costs([LAST], [each])
        np.testing.assert_allclose(a["nll"][i], nll, **CLOSE)
        np.testing.assert_allclose(a["kl"][i], kl, **CLOSE)
        error, energy = r2(each, given, after - given, own.marked(own.evaluation, LAST), mean if rung == "strict" else 0.0)
        np.testing.assert_allclose(a["error"][i], error, rtol=1e-8)
        np.testing.assert_allclose(a["energy"], energy, rtol=1e-8)
        assert found[rung].r2[i] == pytest.approx(1 - error.sum() / energy.sum(), rel=1e-9)
    np.testing.assert_allclose(a["clean"], own.scored.nll(own.scored.logits), **CLOSE)
    assert found[rung].added[1] == pytest.approx(np.exp(a["nll"][1].mean()) - np.exp(a["clean"].mean()))


def test_the_least_of_other_texts_is_the_figure():
    """Never the text's own map, whatever it scores; its replicates leave out one window each."""
    arrays = {
        "clean": np.zeros(2),
        **dict.fromkeys(("nll", "kl"), np.zeros((3, 2))),
        "error": np.array([[9.0, 9.0], [1.0, 2.0], [3.0, 5.0]]),
        "energy": np.array([10.0, 10.0]),
        "left_out": np.array(0.0),
    }
    figure, source = Transfer(("own", "near", "far"), Scores(arrays)).least
    assert (figure.value, source) == (pytest.approx(0.6), "far")
    np.testing.assert_allclose(figure.score, [0.5, 0.7])
    assert figure.fit is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A planted model, two texts that it reads and one that is too short."""
    folder = tmp_path_factory.mktemp("texts")
    planted_replacement.save(folder / "model", **planted_replacement.SUBJECTS["adding"])
    for name, seed in (("first", 1), ("second", 5)):
        planted_variance.corpus(folder / name)
        (folder / name / "train.txt").write_text(planted_variance.text(32 * 256, seed=seed))
    planted_variance.corpus(folder / "short", calibration=300)
    return folder


def test_several_texts_make_a_matrix(claims, folder):
    """Every text is scored with the maps of all, after all have been measured; what was measured is not measured again."""
    arguments = ["-m", "claim2 and paper", "-k", "transfer or single", f"--corpus={folder / 'second'}"]
    result = claims(*arguments, model=folder / "model", text=folder / "first", files=[ROOT / "claims"])
    assert result.ret == 0
    evidence = {pair.split("/")[1]: parts["transfer/paper"] for pair, parts in result.report["evidence"].items()}
    names = [row["corpus"] for row in result.report["rows"] if row["predicate"] == "transfer" and row["rung"] == "paper"]
    assert [e["sources"] for e in evidence.values()] == [names, names[::-1]]
    first, second = names
    lines = str(result.stdout).splitlines()
    at = next(i for i, line in enumerate(lines) if "the last block's map of every text on every other" in line)
    assert lines[at + 1].split() == ["paper", "on", first, "on", second]
    for row, source in enumerate(names):
        cells = [cell for cell in lines[at + 2 + row].split() if cell not in ("of", "=")]
        r2 = [evidence[text]["r2"][evidence[text]["sources"].index(source)] for text in names]
        assert (cells[0], cells[1], cells[3]) == (source, *(f"{value:.3f}" for value in r2))
        assert lines[at + 2 + row].count("=") == 1
    values = {row["corpus"]: row["value"] for row in result.report["rows"] if row["predicate"] == "transfer" and row["rung"] == "paper"}
    assert values == {name: pytest.approx(e["r2"][1]) for name, e in evidence.items()}
    assert all(0 < value < 1 for value in values.values())
    timings = [list(parts) for pair, parts in result.report["timings"].items() if pair != "wall_seconds"]
    assert all("maps of other texts, paper windows" in parts for parts in timings)
    assert "came with replacement of five blocks" in str(result.stdout)
    again = claims(*arguments, model=folder / "model", text=folder / "first", files=[ROOT / "claims"])
    assert "windows: measured in" not in str(again.stdout)
    assert [row["value"] for row in again.report["rows"]] == [row["value"] for row in result.report["rows"]]


def test_one_text_compares_nothing(claims, folder):
    """Its cells are not run, and the report says what they need."""
    result = claims(
        "-m", "claim2 and paper", "-k", "transfer or single", model=folder / "model", text=folder / "first", files=[ROOT / "claims"]
    )
    assert result.ret == 0
    row = next(row for row in result.report["rows"] if row["predicate"] == "transfer")
    assert (row["verdict"], row["reason"]) == ("untested", "compares texts: give --corpus more than once")


def test_a_text_that_cannot_be_measured_is_left_out(claims, folder):
    """Its own cells say why; the other text has nothing to be compared with, which is no error."""
    arguments = ["-m", "claim2 and paper", "-k", "transfer", f"--corpus={folder / 'short'}"]
    result = claims(*arguments, model=folder / "model", text=folder / "first", files=[ROOT / "claims"])
    rows = {row["corpus"].split("-")[0]: row for row in result.report["rows"] if row["predicate"] == "transfer" and row["rung"] == "paper"}
    assert rows["first"]["verdict"] == "not_applicable"
    assert "no other text" in rows["first"]["reason"]
    assert rows["short"]["verdict"] == "untested"
