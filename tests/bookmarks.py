"""A bookmark in memory, whose process is killed once."""

from __future__ import annotations


class StoppedError(Exception):
    """The process is killed."""


class Book:
    """A bookmark in memory; the first time the process is killed at its ``at``-th step."""

    def __init__(self, at=None):
        self.at, self.kept = at, {}

    def load(self, take_up):
        """Hand over what was kept."""
        for done, state in self.kept.items():
            take_up(done, state)
        return next(iter(self.kept), 0)

    def save(self, done, state):
        """Keep the state, once."""
        if done == self.at and not self.kept:
            self.kept = {done: {name: array.copy() for name, array in state().items()}}
            raise StoppedError
