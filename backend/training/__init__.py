"""Training: one trainer for every recipe, on CPU and CUDA."""

from backend.training.run import train

__all__ = ["train"]
