"""The report of a run: one HTML file that shows what the latent actions learnt, built from plain numbers and frames."""

from wildlam.evaluation.verdict import Verdict, verdict
from wildlam.report.html import Section, error_table, figure, paragraph, table, verdict_box, write_report
from wildlam.report.plots import Transition, error_bars, error_strip, kl_per_dimension, nearest_actions, training_curves

__all__ = [
    "Section",
    "Transition",
    "Verdict",
    "error_bars",
    "error_strip",
    "error_table",
    "figure",
    "kl_per_dimension",
    "nearest_actions",
    "paragraph",
    "table",
    "training_curves",
    "verdict",
    "verdict_box",
    "write_report",
]
