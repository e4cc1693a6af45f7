"""Which machine an address or a request means."""

from __future__ import annotations

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server there; of a name but `localhost`, nobody knows."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_this_machine(header: str) -> bool:
    """Whether a Host header names this machine. A page of a site that has its name lead here names the site."""
    host = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header
    return is_loopback(host.removeprefix("[").removesuffix("]").lower())
