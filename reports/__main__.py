"""``python -m reports``: what can be done with report files, without torch and without the model."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NoReturn

from reports.document import ReportError

COMMANDS = {
    "show": ("reports.show", "print the tables of a run again"),
    "html": ("reports.html", "make one self-contained page of one or many reports"),
    "markdown": ("reports.markdown", "write a summary for a pull request or a model card"),
    "compare": ("reports.compare", "put two models, texts or runs side by side"),
    "history": ("reports.history", "follow verdicts and figures over a folder of reports"),
    "baseline": ("reports.baseline_command", "write, amend or check the verdicts that a build is to keep"),
    "replay": ("reports.replay", "compute the falsified figures of a bundle again, without the model"),
    "replication": ("reports.replication_command", "set the paper's figures of GPT-2 and Mistral beside those of a report"),
    "readme": ("reports.readme", "put a report's table and picture into a README, or check that they are current"),
    "schema": ("reports.schema_command", "print the JSON Schema of a report file"),
}
_BAD_INPUT = 4


class _Parser(argparse.ArgumentParser):
    """Ends with the exit code that bad input has everywhere else."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_BAD_INPUT, f"{self.prog}: {message}\n")


def main(given: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 4 for bad input, else what the command says of its own."""
    words = list(sys.argv[1:] if given is None else given)
    parser = _Parser(prog="python -m reports", description="Report files of 'pytest claims': read, shown, compared, guarded.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        # Only the command that is asked for is imported: each has imports of its own, and none needs the others'.
        sub = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.")
        if name in words[:1]:
            loaded = import_module(module)
            loaded.arguments(sub)
            sub.set_defaults(run=loaded.run)
    options = parser.parse_args(words)
    try:
        code: int = options.run(options)
        sys.stdout.flush()
        return code
    except ReportError as error:
        print(f"python -m reports {options.command}: {error}", file=sys.stderr)
        return _BAD_INPUT
    except BrokenPipeError:  # The reader of a pipe has seen enough.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
