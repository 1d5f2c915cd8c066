"""Run pytest in this interpreter and leave at once: ``python tests/run.py TOOLS_FOLDER PYTEST_ARGUMENTS...``

Blender 4.5 as a module sometimes never ends and prints leak reports on its way out, so the process leaves with
os._exit.
"""

import os
import sys

if __name__ == "__main__":
    sys.path.append(sys.argv[1])  # last: what the environment itself carries comes first
    import pytest

    code = int(pytest.main(sys.argv[2:]))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
