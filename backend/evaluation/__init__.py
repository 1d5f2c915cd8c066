"""Evaluation of a checkpoint on a built data set. Nothing here is comparable with published tables."""

from backend.evaluation.report import evaluate

__all__ = ["evaluate"]
