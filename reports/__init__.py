"""What it means: rows of a run, the verdicts on claims, and how both are shown."""
