"""How to measure: loading, anatomy, the sweep, moments, maps, intervals."""

from harness.allocation import prepare

prepare()  # Here, as this comes before torch, which anything in this package imports.
