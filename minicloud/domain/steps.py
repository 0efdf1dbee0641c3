"""The 28 steps of a launch, as data.

Each daemon records its own steps with ``StepRecord``; the conductor keeps them under the request
id. ``minicloud trace`` draws them, and a server's instance action shows them as events.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Step(msgspec.Struct, frozen=True):
    number: int
    name: str
    """Short and stable: the event name is ``step_NN_name``."""
    sentence: str
    where: str
    """The service that does it."""

    @property
    def event(self) -> str:
        return f"step_{self.number:02d}_{self.name}"


_ROWS: Sequence[tuple[str, str, str]] = (
    ("send_credentials", "the client sends credentials to identity", "client"),
    ("issue_token", "identity checks them and returns a token", "identity"),
    ("send_launch", "the client sends the launch with the token", "client"),
    ("ask_token", "api asks identity whether the token is valid", "api"),
    ("validate_token", "identity validates it: user, project, roles", "identity"),
    ("open_database", "api goes to the database", "api"),
    ("write_entry", "the database holds the new server's entry", "api"),
    ("call_scheduler", "api calls the scheduler for a host", "api"),
    ("take_request", "the scheduler takes the request from the queue", "scheduler"),
    ("choose_host", "it reads the database, filters and weighs hosts", "scheduler"),
    ("claim_host", "the entry gets its host id: the claim", "scheduler"),
    ("cast_compute", "the scheduler casts the launch to that host", "scheduler"),
    ("take_launch", "compute takes it from the queue", "compute"),
    ("call_conductor", "compute calls the conductor for the server", "compute"),
    ("take_lookup", "the conductor takes it from the queue", "conductor"),
    ("read_database", "the conductor reads the database", "conductor"),
    ("answer_database", "the database returns server, host and flavor", "conductor"),
    ("answer_compute", "the answer goes back through the queue", "conductor"),
    ("ask_image", "compute asks image for metadata and bytes", "compute"),
    ("image_token", "image validates the token with identity", "image"),
    ("have_image", "compute has the image on its host", "compute"),
    ("ask_network", "compute asks network for the ports", "compute"),
    ("network_token", "network validates the token with identity", "network"),
    ("have_network", "compute has the addresses and plugs TAP and bridge", "compute"),
    ("ask_volume", "compute asks volume for the server's volumes", "compute"),
    ("volume_token", "volume validates the token with identity", "volume"),
    ("have_volumes", "compute has the block-storage information", "compute"),
    ("start_domain", "compute defines and starts the domain through libvirt", "compute"),
)

STEPS: Sequence[Step] = tuple(
    Step(number, name, sentence, where)
    for number, (name, sentence, where) in enumerate(_ROWS, start=1)
)
BY_EVENT = {step.event: step for step in STEPS}


def step(number: int) -> Step:
    return STEPS[number - 1]


class StepRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One step of one launch, as it happened."""

    number: int
    start: float
    """Seconds since the epoch, UTC."""
    duration: float | None
    """Seconds; None where the doer did not say (a token issued by a foreign identity)."""
    service: str
    host: str
    result: str = "Success"
    """Success or Error, as in Nova's events."""
    detail: str = ""
    """A few words for people: ``cached``, ``2 ports``. Never a secret."""
