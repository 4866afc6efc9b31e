"""What the statistics of a training mean, a plain sentence each; docs/concepts.md says what is a sign of trouble."""

from __future__ import annotations

MEANINGS = {
    "loss": "All that the training makes smaller, in one number.",
    "prediction": "How far off the predicted next state is, on average.",
    "penalty": "What latent actions pay for the information that they hold.",
    "gradient_norm": "Length of the gradient before it is clipped; spikes are a sign of trouble.",
    "lr_factor": "The learning rate, as a share of its highest.",
    "kl": "Information in a latent action, in nats; near 0, it is ignored.",
    "kl_active": "Dimensions of the latent action that hold information (over 0.01 nat).",
    "z_std": "How much a dimension of the latent action varies; near 0, it has collapsed.",
    "z_active": "Dimensions of the latent action that vary (deviation over 0.1).",
    "z_covariance": "How much dimensions of the latent action repeat each other.",
    "energy": "The energy of latent actions, which the limit keeps low.",
    "z_l1": "Sum of the sizes of a latent action's entries.",
    "z_squared_norm": "Squared length of a latent action.",
    "sparsity": "Share of a latent action's entries that are next to nothing.",
    "codes_used": "Codes that occur in a batch.",
    "perplexity": "Codes in effect, by how evenly they are used; 1 is a collapse.",
    "quantisation_error": "How far latent actions are from their codes, over their spread; near 1, codes say nothing.",
    **dict.fromkeys(
        ("additivity", "reversal", "composition", "inverse", "undoing", "cycle"),
        "How much latent actions disagree that should be the same; near 1 is by chance.",
    ),
    "nats": "How surprising latent actions are, in nats; lower is better.",
    "dims": "Dimensions of the latent action that are kept in use.",
    "idm": "Error one step ahead with the latent action inferred from the transition itself.",
    "permuted": "That error with another clip's latent action; where it is as low, latent actions are ignored.",
    "zero": "That error without a latent action (z = 0).",
    "copy": "That error of taking the last state for the next; to be beaten.",
    "z_error": "How far off the latent actions are that it gives, over their spread.",
    "l1": "How far off painted pixels are, from 0 to 1.",
    "psnr": "Likeness of what is painted to the true frames, in dB; higher is better.",
    "ssim": "Likeness in structure of what is painted, 1 for the same; higher is better.",
    "lpips": "How different what is painted looks to a network; lower is better.",
}
"""By the last part of a statistic's name."""


def meaning(name: str) -> str:
    """What a statistic such as ``held_out/arm/l1`` means; empty for one that is not known."""
    *of, last = name.split("/")
    if last not in MEANINGS or of[:1] not in ([], ["held_out"]):
        return ""
    where = f" Held-out videos{f' of {of[1]}' if of[1:] else ''}." if of else ""
    return MEANINGS[last] + where
