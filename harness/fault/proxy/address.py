"""host:port, and whether that is this machine."""

from __future__ import annotations

import ipaddress
import socket

from harness.fault.proxy.refusal import BAD_ADDRESS, CANNOT_LISTEN, Refusal

LOOPBACK = "127.0.0.1"

Address = tuple[str, int]


def parsed(text: str, *, is_listener: bool = False) -> Address:
    """`host:port` or `[::1]:port`; without a host it is 127.0.0.1. Raises Refusal; only a listener's port may be 0."""
    host, colon, port = text.rpartition(":")
    least = 0 if is_listener else 1
    if not colon or not port.isdecimal() or not least <= int(port) <= 65535:
        raise Refusal(BAD_ADDRESS, f"{text!r} is not host:port")
    return host.removeprefix("[").removesuffix("]") or LOOPBACK, int(port)


def shown(address: Address) -> str:
    """As `parsed` reads it."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can be meant."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def bound(address: Address) -> socket.socket:
    """A socket that holds the address and does not listen yet, so that connecting is refused. Raises Refusal."""
    host, port = address
    if not is_loopback(host):
        raise Refusal(
            BAD_ADDRESS, f"{shown(address)} is not loopback, and a proxy that breaks things listens nowhere else"
        )
    host = LOOPBACK if host == "localhost" else host
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((host, port))
    except OSError as error:
        held.close()
        raise Refusal(CANNOT_LISTEN, f"on {shown(address)}: {error.strerror}") from None
    return held
