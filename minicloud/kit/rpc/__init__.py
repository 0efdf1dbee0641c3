"""Remote calls between daemons: typed contracts over oslo.messaging.

``transport.py`` is the only importer of oslo.messaging. A contract is a class in
``minicloud/rpc`` whose methods are marked ``@call`` or ``@cast``; ``Transport.client`` makes a
caller from it, ``Transport.server`` serves an object that implements it.
"""

from minicloud.kit.rpc.contract import call, cast
from minicloud.kit.rpc.transport import Transport

__all__ = ["Transport", "call", "cast"]
