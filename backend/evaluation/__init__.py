"""Evaluation of a checkpoint on a built data set. Nothing here is comparable with published tables; see README.md."""
