"""A real Glance on loopback, in an environment of its own that is kept between runs.

Its configuration is what the recipe in docs/real-services.rst says.
"""

from __future__ import annotations

import configparser
import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

VENV = Path(os.environ.get("MINICLOUD_TEST_GLANCE", "/opt/minicloud-test/glance"))
PORT = 19292
URL = f"http://127.0.0.1:{PORT}"

_CONFIG = """
[DEFAULT]
enabled_backends = files:file
worker_self_reference_url = {url}
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = {directory}/images
[os_glance_staging_store]
filesystem_store_datadir = {directory}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {directory}/tasks
[database]
connection = sqlite:///{directory}/glance.sqlite
[paste_deploy]
flavor = keystone
[keystone_authtoken]
www_authenticate_uri = {identity}
auth_url = {identity}
auth_type = password
username = {username}
password = {password}
project_name = service
user_domain_name = Default
project_domain_name = Default
service_token_roles = service
service_token_roles_required = true
"""


def install() -> None:
    """Glance from PyPI; skips the test where it is not there and cannot be got."""
    if (VENV / "bin" / "glance-manage").exists() and (VENV / "bin" / "gunicorn").exists():
        return
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    got = subprocess.run(
        [str(VENV / "bin" / "pip"), "install", "-q", "glance", "gunicorn"],
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    if got.returncode != 0:
        shutil.rmtree(VENV)
        pytest.skip(f"Glance cannot be installed: {got.stderr[-300:]}")


@contextlib.contextmanager
def running(directory: Path, config: Path) -> Iterator[Path]:
    """Glance at ``URL``, with its files below ``directory``; the path of its log."""
    install()
    options = configparser.ConfigParser(interpolation=None)
    options.read(config / "minicloud.conf")
    text = _CONFIG.format(
        url=URL,
        directory=directory,
        identity=options["auth"]["url"],
        username=options["auth"].get("username", "minicloud"),
        password=options["auth"]["password"].replace("$$", "$").replace("$", "$$"),
    )
    for name in ("images", "staging", "tasks"):
        (directory / name).mkdir()
    (directory / "glance-api.conf").write_text(text)
    shutil.copy(VENV / "etc/glance/glance-api-paste.ini", directory)
    environment = {**os.environ, "OS_GLANCE_CONFIG_DIR": str(directory)}
    environment.pop("PYTHONPATH", None)
    subprocess.run(
        [str(VENV / "bin/glance-manage"), "--config-file", str(directory / "glance-api.conf"),
         "db_sync"],
        check=True, capture_output=True, env=environment, timeout=120,
    )  # fmt: skip
    log = directory / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(VENV / "bin/gunicorn"), "--bind", f"127.0.0.1:{PORT}", "--threads", "8",
             "--timeout", "120", "--access-logfile", "-", "glance.wsgi.api:application"],
            stdout=output, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
    try:
        _wait(server, log)
        yield log
    finally:
        server.terminate()
        server.wait(30)


def _wait(server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 120
    while True:
        assert server.poll() is None, log.read_text()[-3000:]
        with contextlib.suppress(requests.ConnectionError, requests.Timeout):
            if requests.get(URL, timeout=10).status_code == 300:
                return
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.2)
