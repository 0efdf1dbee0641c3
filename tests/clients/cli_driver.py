"""Runs many commands of the real ``openstack`` in one process: its start takes seconds.

Reads a JSON list of words a line and answers a JSON object a line: status, output, errors.
"""

from __future__ import annotations

import io
import json
import sys
import warnings

warnings.simplefilter("ignore")

from openstackclient import shell  # noqa: E402 - its warnings are not ours


def run(words: list[str]) -> dict[str, object]:
    out, errors = io.StringIO(), io.StringIO()
    sys.stdout, sys.stderr = out, errors
    try:
        status = shell.OpenStackShell().run(words)
    except SystemExit as end:  # argparse
        status = end.code
    finally:
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
    return {"status": status, "out": out.getvalue(), "errors": errors.getvalue()}


for line in sys.stdin:
    print(json.dumps(run(json.loads(line))), flush=True)
