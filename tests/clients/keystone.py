"""A real Keystone: installed from PyPI once, bootstrapped anew, served on loopback by gunicorn."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import requests

VENV = Path("/opt/minicloud-test/keystone")
ADMIN = "keystone-admin-pw"
REGION = "RegionOne"
_CONFIG = """
[DEFAULT]
log_file = {directory}/keystone.log
[database]
connection = sqlite:///{directory}/keystone.sqlite
[fernet_tokens]
key_repository = {directory}/fernet
[credential]
key_repository = {directory}/credential
[identity]
password_hash_rounds = 4
"""
_APPLICATION = """
import sys
sys.argv = ["keystone"]  # it would take gunicorn's arguments for its own
from keystone.wsgi.api import application
"""


def install() -> str:
    """Have Keystone in its environment; why not, where that does not work."""
    if (VENV / "bin" / "keystone-manage").exists() and (VENV / "bin" / "gunicorn").exists():
        return ""
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    done = subprocess.run(
        [VENV / "bin" / "python", "-m", "pip", "install", "-q", "keystone", "gunicorn"],
        capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else f"Keystone could not be installed: {done.stderr[-300:]}"


@contextlib.contextmanager
def keystone(directory: Path) -> Iterator[str]:
    """The URL of a Keystone with nothing in it but its first user, ``admin``."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}/v3"
    (directory / "keystone.conf").write_text(_CONFIG.format(directory=directory))
    (directory / "keystone_app.py").write_text(_APPLICATION)
    for name in ("fernet", "credential"):
        (directory / name).mkdir(mode=0o700)
    own = ("--keystone-user", "root", "--keystone-group", "root")
    # Each takes seconds to import what it needs: side by side.
    first = [_manage(directory, "db_sync"), _manage(directory, "fernet_setup", *own),
             _manage(directory, "credential_setup", *own)]  # fmt: skip
    for process in first:
        _finish(process)
    _finish(
        _manage(directory, "bootstrap", "--bootstrap-password", ADMIN,
                "--bootstrap-region-id", REGION, "--bootstrap-public-url", url)
    )  # fmt: skip
    log = (directory / "gunicorn.log").open("w")
    server = subprocess.Popen(
        [VENV / "bin" / "gunicorn", "--chdir", directory, "--bind", f"127.0.0.1:{port}",
         "--threads", "4", "keystone_app:application"],
        env=_environment(directory), stdout=log, stderr=log,
    )  # fmt: skip
    try:
        _wait_for(url, server, directory)
        yield url
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def _manage(directory: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [VENV / "bin" / "keystone-manage", "--config-file", directory / "keystone.conf", *words],
        env=_environment(directory), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def _finish(process: subprocess.Popen[str]) -> None:
    said, _ = process.communicate(timeout=240)
    assert process.returncode == 0, said


def _environment(directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(directory),
        "PYTHONPATH": "",
        "PYTHONWARNINGS": "ignore",
        "OS_KEYSTONE_CONFIG_DIR": str(directory),
        "OS_KEYSTONE_CONFIG_FILES": "keystone.conf",
    }


def _wait_for(url: str, server: subprocess.Popen[bytes], directory: Path) -> None:
    give_up_at = time.monotonic() + 120
    while True:
        try:
            if requests.get(url, timeout=30).status_code == 200:
                return
        except requests.RequestException:
            pass
        if server.poll() is not None or time.monotonic() > give_up_at:
            raise AssertionError((directory / "gunicorn.log").read_text())
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
