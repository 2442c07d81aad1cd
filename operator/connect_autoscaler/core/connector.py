"""TCP connections that do not outlive the Lease: what the network has not taken for seconds is never delivered.

The kernel goes on sending what a process wrote, for minutes, also after the process has died. When a partition ends,
such a write would arrive beside those of the next holder of the Lease.
"""

import socket
from typing import Any, Final

import aiohttp
from kubernetes.aio.client.rest import RESTClientObject

UNACKNOWLEDGED: Final = 4.0
"""Seconds; less than a Lease lasts after the last moment in which its holder writes."""


class Rest(RESTClientObject):
    """The HTTP client of ``kubernetes.aio`` with such connections."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, socket_factory=_open)


def _open(address: tuple[Any, ...]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(UNACKNOWLEDGED * 1000))
    return made
