"""How far models are unrolled."""

SECONDS = 2.0
"""Length of the paper's rollouts (arXiv 2601.05230, Fig. 4)."""
