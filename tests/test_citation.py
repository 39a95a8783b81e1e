"""CITATION.cff is a citation file of its format, and says what pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PERSON = {"family-names", "given-names", "name-particle", "name-suffix", "alias", "affiliation", "orcid", "email", "website"}


def test_version_and_licence_are_the_projects():
    """Whoever cites the version names the one that pyproject.toml has, under its licence."""
    assert CITATION["version"] == PROJECT["version"]
    assert CITATION["license"] == PROJECT["license"]


def test_it_has_what_the_format_asks_for():
    """CFF 1.2.0 asks for the version of the format, a message, a title and authors; a version that YAML reads as a number is none."""
    assert CITATION["cff-version"] == "1.2.0"
    assert CITATION["type"] == "software"
    assert all(isinstance(CITATION[name], str) and CITATION[name] for name in ("cff-version", "message", "title", "version"))
    allowed = {"cff-version", "message", "type", "title", "abstract", "authors", "version", "license", "keywords", "references"}
    assert set(CITATION) <= allowed


@pytest.mark.parametrize("of", [CITATION, *CITATION["references"]])
def test_every_author_is_a_person_or_an_entity(of):
    """An entity has a name; a person has names of its own, and none of an entity."""
    assert of["authors"]
    for author in of["authors"]:
        assert "name" in author or ("family-names" in author and set(author) <= PERSON)


def test_the_paper_is_a_reference():
    """The paper stands with author, year, title as the README has it, and its identifier."""
    (paper,) = CITATION["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert (paper["type"], paper["year"]) == ("article", 2026)
    assert paper["authors"] == [{"given-names": "S.", "family-names": "Salfati"}]
    assert paper["identifiers"][0]["value"] == "arXiv:2604.20682"
    assert paper["title"] in " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
