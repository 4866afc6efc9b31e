"""The report of a run: one HTML file that shows what the latent actions learnt, built from plain numbers and frames."""
