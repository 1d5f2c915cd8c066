"""The model side of MoMug: runs in its own Python environment, never imports bpy."""

import os

__version__ = "0.1.0"

# Threads of PyTorch's OpenMP (GNU's) wait for one another by spinning, by default for long. Beside a Blender that plays
# or renders they then hold up it and each other: ten seconds of motion took 2.8 to 3.2 s on two cores of which one was
# busy, with this 1.7 s, and as long as before on idle ones. It is read when PyTorch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
