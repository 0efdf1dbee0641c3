"""Devices that a guest gets and loses while it runs, over libvirt.

A guest is asked to let a device go, and may take its time, refuse, or never answer: what counts
is whether the device is still in the domain, never what a call returned. Each function may be
repeated after being cut short anywhere.
"""

from __future__ import annotations

import time

from minicloud.domain.errors import HostProblem
from minicloud.domain.states import Power
from minicloud.virt.driver import Device, Nic
from minicloud.virt.libvirt import xml
from minicloud.virt.libvirt.connection import Connection

_ASK_AGAIN_S = 5.0
"""A guest that was still booting did not hear the first request."""
_LOOK_AGAIN_S = 1.0
"""In case an event was lost."""


def ensure_device(
    connection: Connection, server_id: str, device: Device, features: xml.HostFeatures
) -> None:
    element = xml.device_xml(device, features)

    def is_there(definition: str) -> bool:
        return xml.find_device(definition, device) is not None

    connection.attach(server_id, element, is_there, live=True)
    connection.attach(server_id, element, is_there, live=False)
    live = connection.live_definition(server_id)
    if live is not None and not is_there(live):
        raise HostProblem(reason=f"libvirt did not give {_name(device)} to server {server_id}")


def ensure_no_device(
    connection: Connection, server_id: str, device: Device, limit_s: float
) -> None:
    _ask_to_release(connection, server_id, device, limit_s)
    stored = connection.stored_definition(server_id)
    found = xml.find_device(stored, device) if stored is not None else None
    if found is not None:
        connection.forget_device(server_id, found.element)


def has_device(connection: Connection, server_id: str, device: Device) -> bool:
    live = connection.live_definition(server_id)
    return live is not None and xml.find_device(live, device) is not None


def _ask_to_release(connection: Connection, server_id: str, device: Device, limit_s: float) -> None:
    """Return when the guest does not have the device, or is off."""
    name = _name(device)
    ask_at = time.monotonic()
    deadline = ask_at + limit_s
    while True:
        seen = connection.changes()
        live = connection.live_definition(server_id)
        found = xml.find_device(live, device) if live is not None else None
        if found is None:
            return
        domain = connection.find(server_id)
        if domain is not None and domain.power is Power.PAUSED:
            raise HostProblem(
                reason=f"the guest is paused and cannot let {name} go: unpause or stop the server"
            )
        if connection.has_refused(server_id, found.alias):
            raise HostProblem(reason=f"the guest refuses to let {name} go")
        now = time.monotonic()
        if now >= deadline:
            raise HostProblem(
                reason=f"the guest did not let {name} go within {limit_s:g} s; "
                "it may be in use there: unmount it, or stop the server"
            )
        if now >= ask_at:
            connection.request_release(server_id, found.alias)
            ask_at = now + _ASK_AGAIN_S
        connection.wait_for_change(seen, min(_LOOK_AGAIN_S, deadline - now))


def _name(device: Device) -> str:
    """``disk vdb``, for people."""
    return f"NIC {device.mac}" if isinstance(device, Nic) else f"disk {device.target}"
