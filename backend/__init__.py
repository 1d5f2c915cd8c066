"""The model side of MoMug: runs in its own Python environment, never imports bpy."""

__version__ = "0.1.0"
