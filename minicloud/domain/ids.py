"""Names that can be computed again.

A step that may already have run must be able to look for what it made, so every outside thing
is named after something the database knows. Nothing here is random except ``new_id`` and
``new_request_id``.
"""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("6d696e69-636c-6f75-6400-000000000000")


def new_id() -> str:
    """A random UUID in OpenStack's usual form, with dashes."""
    return str(uuid.uuid4())


def new_request_id() -> str:
    return f"req-{uuid.uuid4()}"


def derive(*parts: str | int) -> str:
    """The UUID that belongs to ``parts``: the same parts give the same id on any machine."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(map(str, parts))))


def is_uuid(text: str) -> bool:
    """Whether ``text`` is a UUID as OpenStack takes it: with or without dashes, any case."""
    try:
        plain = text.lower().replace("urn:", "").replace("uuid:", "").strip("{}").replace("-", "")
        return str(uuid.UUID(text)).replace("-", "") == plain
    except (ValueError, AttributeError):
        return False


# Kernel interface names hold 15 characters: a prefix of up to 4 and 11 of the id.
def tap_name(port_id: str) -> str:
    return f"tap{port_id[:11]}"


def bridge_name(network_id: str) -> str:
    return f"brm{network_id[:11]}"


def netns_name(network_id: str) -> str:
    return f"minicloud-{network_id}"


def disk_name(index: int) -> str:
    """The guest's name of its virtio disk ``index``: vda, vdb, up to vdz, then vdaa and on."""
    letters = ""
    number = index + 1
    while number:
        number, letter = divmod(number - 1, 26)
        letters = chr(ord("a") + letter) + letters
    return f"vd{letters}"


def domain_name(server_id: str) -> str:
    """The libvirt domain's name; its UUID is the server id itself."""
    return f"minicloud-{server_id}"
