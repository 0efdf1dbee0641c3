"""Rows for tests: a server as the API writes it."""

import msgspec

from minicloud.domain.models import Flavor, Server
from minicloud.domain.states import Power, TaskState, VmState


def new_server(server_id: str, **facts) -> Server:
    server = Server(
        id=server_id, project_id="p", user_id="u", name="s", hostname="s",
        vm_state=VmState.BUILDING, task_state=TaskState.SCHEDULING, power_state=Power.NOSTATE,
        operation_id=None, host=None, availability_zone=None,
        flavor=Flavor(id="1", name="f", vcpus=1, ram=64, disk=1), image_id="i",
        image_properties={}, key_name=None, public_key=None, user_data=None, config_drive=False,
        metadata={}, description=None, tags=(), requested_nics=(), block_devices=(),
        security_groups=(), nics=(), volumes=(), access_ip_v4="", access_ip_v6="",
        disk_config="MANUAL", reservation_id="r-1", launch_index=0, locked=False,
        locked_reason=None, fault=None, created_at=1.0, updated_at=1.0, launched_at=None,
        terminated_at=None, deleted=False,
    )  # fmt: skip
    return msgspec.structs.replace(server, **facts)
