"""What the QEMU of this machine can do."""

from __future__ import annotations

import os
import subprocess

_LIMIT_S = 10
_NOWHERE = "driver=rbd,pool=none,image=none,conf=/nonexistent"
_NO_DRIVER = "Unknown driver"


def has_ceph_driver() -> bool:
    """Asked by opening what cannot be there: nothing but the driver's absence matters. Where QEMU
    itself is not to be had, whoever needs it says so.
    """
    try:
        tried = subprocess.run(
            ["qemu-img", "info", "--image-opts", _NOWHERE],
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return True
    return _NO_DRIVER not in tried.stderr
