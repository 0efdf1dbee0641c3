"""The verdict of a test run is pytest's, whatever the interpreter does when it is taken down.

Taking down an interpreter that holds hundreds of ``msgspec`` types sometimes ends in a segmentation
fault in that library (seen with 0.22 on Python 3.11), after the last test and its report. So the
process runs its exit handlers and leaves without destroying its modules.
"""

import atexit
import os
import sys
from collections.abc import Iterator

import pytest
from ceph_cluster import CephCluster, CephPool, ceph_cluster, missing

verdict = 0


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(exitstatus: int) -> None:
    global verdict
    verdict = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(verdict)


@pytest.fixture(scope="session")
def ceph() -> Iterator[CephCluster]:
    """The one cluster of all tests that share one: whoever stops it has it go on again."""
    if missing():
        pytest.skip(missing())
    with ceph_cluster() as cluster:
        yield cluster


@pytest.fixture
def ceph_pool(ceph: CephCluster) -> CephPool:
    """A new and empty pool."""
    return ceph.new_pool()
