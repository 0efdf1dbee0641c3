"""Logging: one line an event, with the request id, as JSON or as text, to standard error.

Messages are constant sentences with arguments, never f-strings, never a secret.
INFO: a transition or a finished step. WARNING: retried. ERROR: a person must look.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time

from minicloud.kit import context

_CONTROL = {
    code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160), 0x2028, 0x2029)
}
"""What would end a line or steer a terminal -> what is written instead. Clients name things so."""


class _Lines(logging.Formatter):
    def __init__(self, daemon: str, host: str, as_json: bool) -> None:
        super().__init__()
        self._daemon, self._host, self._json = daemon, host, as_json

    def format(self, record: logging.LogRecord) -> str:
        ctx = context.current()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        stamp = f"{stamp}.{int(record.msecs):03d}Z"
        text = record.getMessage().translate(_CONTROL)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        if not self._json:
            request = f" [{ctx.request_id}]" if ctx else ""
            return f"{stamp} {record.levelname} {self._daemon} {record.name}{request} {text}"
        fields: dict[str, object] = {
            "time": stamp,
            "level": record.levelname,
            "service": self._daemon,
            "host": self._host,
            "logger": record.name,
            "message": text,
        }
        if ctx:
            fields["request_id"] = ctx.request_id
            if ctx.project_id:
                fields["project_id"] = ctx.project_id
        return json.dumps(fields, ensure_ascii=False)


def setup(daemon: str, *, host: str, level: str, style: str) -> None:
    """Send this process's log to standard error. ``style``: ``json`` or ``text``."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(daemon, host, style == "json"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in (
        "amqp",
        "oslo",
        "oslo_messaging",
        "urllib3",
        "alembic",
        "stevedore",
        "oslo_policy",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)

    def report(args: threading.ExceptHookArgs) -> None:
        if args.exc_type is not SystemExit:
            logging.getLogger(daemon).error(
                "A thread ended by an unforeseen error",
                exc_info=(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback),
            )

    threading.excepthook = report
