"""Whether guests of this host can open volumes in Ceph, where they are to."""

from __future__ import annotations

import os

from minicloud.cli.doctor.finding import Finding, fail, ok, unknown
from minicloud.cli.doctor.machine import AS_ROOT, Machine
from minicloud.domain.errors import HostProblem
from minicloud.kit.qemu import has_ceph_driver


def guests(machine: Machine) -> Finding:
    """QEMU's driver and the key of ``[libvirt] rbd_user``."""
    from minicloud.virt.libvirt.keyring import ceph_user, key_of

    names = ("rbd_user", "rbd_secret_uuid", "rbd_keyring")
    try:
        user = ceph_user(*(machine.option("libvirt", name) for name in names))
    except ValueError as problem:
        return fail(f"{problem}.", "Set both, or neither, in [libvirt] of compute.conf.")
    if not user.name:
        return ok("Guests open no volumes in Ceph by this host's configuration.")
    if not has_ceph_driver():
        return fail("QEMU has no driver of Ceph.", "Install it: apt install qemu-block-extra")
    if user.keyring.exists() and not os.access(user.keyring, os.R_OK):
        return unknown(f"{user.keyring} is not for this user to read.", AS_ROOT)
    try:
        key_of(user)
    except HostProblem as problem:
        return fail(f"{problem.message}.", "Guests are refused their volumes until it is there.")
    return ok(f"Guests open volumes in Ceph as client.{user.name}.")
