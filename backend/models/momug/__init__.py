"""MoMug: one language model that denoises continuous motion and predicts text (arXiv 2503.06119)."""
