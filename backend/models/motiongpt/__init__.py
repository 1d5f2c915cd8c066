"""MotionGPT (arXiv 2306.10900): text, poses and motion codes in one language model."""
