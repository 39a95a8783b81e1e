"""Challengers that are entered from outside: the example as it is printed, through the command line, and what is refused."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from harness import challengers
from harness.challengers import ENTERED, OWN, challenger
from harness.methods import CHALLENGERS, CODEBOOKS, WALL
from tests.printed_sections import printed

ADDING = (Path(__file__).parent.parent / "docs" / "adding.md").read_text(encoding="utf-8")
CLAIM = Path(__file__).parent.parent / "claims" / "claim_3_the_reconstruction_wall.py"
EXAMPLE = next(block for block in re.findall(r"```python\n(.*?)```", ADDING, re.S) if "@challenger" in block)


@pytest.fixture(autouse=True)
def entered():
    """Whatever a test enters is gone afterwards."""
    before = list(sys.path)
    yield
    ENTERED.clear()
    sys.path[:] = before


def test_the_printed_example_is_measured_and_shown(claims, pytester):
    """It stands beside the others on strict, with its label, a figure of every layer, and bits that are direct quantisation's."""
    (pytester.path / "our_challengers.py").write_text(EXAMPLE)
    given = ["--challengers=our_challengers.py", "-m", "strict", "-k", "challenger_rotation"]
    result = claims(*given, model="llama", files=[CLAIM])
    assert result.ret in (0, 1), result.stderr.str()
    shown = result.report["evidence"][next(iter(result.report["evidence"]))]["challenger_rotation/strict"]["methods"]
    assert list(shown) == ["rotation", "clipped"]
    assert shown["clipped"]["label"] == "INT4 clipped at three standard deviations"
    own = shown["clipped"]["own"]
    assert own["layers"] == 8 * 7
    assert own["bits"][0] == own["bits"][1]
    # Clipping only narrows grids: what it loses and gains is not nothing.
    assert 0.1 < own["output"][0] < 10
    assert own["output"][0] != 1
    result.stdout.fnmatch_lines(["*INT4 clipped at three s… *row *"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\n", "*it enters no challenger; expected a function under @challenger(name)*"),
        ("import nothing_of_this_name\n", "*line 1: ModuleNotFoundError*"),
        (
            "from harness.challengers import challenger\nchallenger('GPTQ')\n",
            "*line 2: ValueError: challenger 'GPTQ': expected lower-case*",
        ),
        ("from harness.challengers import challenger\nchallenger('gptq')\n", "*line 2: ValueError: challenger 'gptq': there is a method*"),
    ],
)
def test_a_file_that_enters_nothing_is_one_clear_error(claims, pytester, text, message):
    """Bad usage: exit code 4, the option, the file and the line; nothing is loaded."""
    (pytester.path / "c.py").write_text(text)
    result = claims("--challengers=c.py", files=[CLAIM])
    assert result.ret == 4
    result.stderr.fnmatch_lines([f"*--challengers *c.py*{message}"])


def test_a_name_can_be_had_once():
    """Neither a built-in method's name nor one that was entered before."""
    challenger("mine")(lambda layer: None)
    with pytest.raises(ValueError, match="there is a method of this name"):
        challenger("mine")
    assert set(OWN) == {"direct", *WALL, *CODEBOOKS, *CHALLENGERS}


def test_what_was_entered_is_told_apart_by_its_text(tmp_path):
    """Another text of the file that a function stands in is another fingerprint; the same text is the same."""
    prints = []
    for body in ("return layer.quantised(layer.weight)", "return layer.quantised(layer.weight)", "return layer.quantised(layer.weight, 8)"):
        file = tmp_path / "c.py"
        file.write_text(f"from harness.challengers import challenger\n@challenger('mine')\ndef mine(layer):\n    {body}\n")
        ENTERED.clear()
        challengers.register_from_file(str(file))
        prints.append(challengers.entered()["mine"])
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize("changed", ["c.py", "beside_c.py"])
def test_a_decorated_function_and_its_neighbours_are_part_of_the_key(tmp_path, changed):
    """What a decorator wraps is looked through, and a module beside the file that it imports counts."""
    (tmp_path / "beside_c.py").write_text("LEVELS = 16\n")
    (tmp_path / "c.py").write_text(
        "import torch\nfrom beside_c import LEVELS\nfrom harness.challengers import challenger\n"
        "@challenger('mine')\n@torch.no_grad()\ndef mine(layer):\n    return layer.quantised(layer.weight, LEVELS)\n"
    )
    prints = []
    for _ in range(2):
        ENTERED.clear()
        challengers.register_from_file(str(tmp_path / "c.py"))
        prints.append(challengers.entered()["mine"])
        (tmp_path / changed).write_text((tmp_path / changed).read_text() + "\n# another text\n")
    sys.modules.pop("beside_c")
    assert prints[0] != prints[1]


def test_a_label_is_printed_as_it_is_written():
    """Neither markup nor control characters of a label reach a terminal."""
    challenger("mine", label="[bold]a\x1b[31m")(lambda layer: None)
    assert "\x1b" not in ENTERED["mine"].label
    shown = {"label": ENTERED["mine"].label, "own": {"output": [1.0, 1.0, 1.0], "bits": [4.0, 4.0]}}
    assert any("[bold]a" in line for line in printed({"challenger_rotation/strict": {"methods": {"mine": shown}}}))
