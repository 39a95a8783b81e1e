"""``python -m reports schema``: the JSON Schema of ``report.json``."""

from __future__ import annotations

import argparse
import json


def arguments(parser: argparse.ArgumentParser) -> None:
    """It takes none."""


def run(options: argparse.Namespace) -> int:
    """Print the schema."""
    from reports.schema import json_schema

    print(json.dumps(json_schema(), indent=2))
    return 0
