"""How to measure: loading, anatomy, the sweep, moments, maps, intervals."""
