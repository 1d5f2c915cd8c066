"""The commands of ``python -m backend``, one file each: its options beside what it does.

Whatever takes time to import (numpy, PyTorch) is imported inside the command, so that ``--help`` and a mistyped option
answer at once.
"""
