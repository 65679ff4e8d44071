"""Connections that end in time and lead only where they may.

`requests` knows a time-out for each read, none for the whole exchange: a server that sends a byte now and then holds a
thread for ever. Here one watcher thread for the whole process shuts the socket of an exchange whose time is over, and
the blocked read or write ends. A host name is resolved once; what is checked is the very address that is connected to.
"""

from __future__ import annotations

import functools
import ipaddress
import math
import os
import socket
import threading
import time
from typing import Any

import certifi
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import create_urllib3_context

_OPTIONS = ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
_Address = tuple[Any, ...]


class Unreachable(Exception):
    """Nothing was sent: no address, nobody listens, no time left."""


class Refused(Exception):
    """The host stands at addresses that are only reached with `allow_private`."""


class Exchange:
    """One exchange under way: when it must end, which socket it uses, whether anything was sent."""

    __slots__ = ("allow_private", "ends", "expired", "sent", "sock")

    def __init__(self, timeout: float, allow_private: bool) -> None:
        self.ends = time.monotonic() + timeout
        self.allow_private = allow_private
        self.sock: socket.socket | None = None
        self.sent = False
        self.expired = False

    def left(self) -> float:
        """Seconds until the deadline. Raises Unreachable where there are none."""
        left = self.ends - time.monotonic()
        if self.expired or left <= 0:
            raise Unreachable("the time was over before it could be reached")
        return left


class _Current(threading.local):
    exchange: Exchange


current = _Current()


class Watcher:
    """Shuts sockets at their deadlines. Its thread starts with the first exchange and sleeps until the next deadline.

    Where all time-outs are alike, a new exchange ends after those before it: the thread is hardly ever woken for one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._live: set[Exchange] = set()
        self._wakes = math.inf
        self._thread: threading.Thread | None = None

    def add(self, exchange: Exchange) -> None:
        with self._changed:
            self._live.add(exchange)
            if exchange.ends < self._wakes:
                self._wakes = exchange.ends
                self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="exchange-watcher", daemon=True)
                self._thread.start()

    def remove(self, exchange: Exchange) -> None:
        """After this the exchange's socket is never touched: it may serve the next one."""
        with self._changed:
            self._live.discard(exchange)
        exchange.sock = None

    def _run(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for exchange in [exchange for exchange in self._live if exchange.ends <= now]:
                    self._live.discard(exchange)
                    exchange.expired = True
                    # Read once: the thread that owns the exchange may take it away meanwhile.
                    if (sock := exchange.sock) is not None:
                        _shut(sock)
                self._wakes = min((exchange.ends for exchange in self._live), default=math.inf)
                self._changed.wait(None if self._wakes == math.inf else max(0.0, self._wakes - time.monotonic()))


def _shut(sock: socket.socket) -> None:
    try:
        # Not the method of SSLSocket: that one drops the encryption under the thread that is reading.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except (OSError, ValueError):
        pass


watcher = Watcher()
os.register_at_fork(after_in_child=watcher.__init__)  # type: ignore[misc]


_BEYOND_IPADDRESS = [
    ipaddress.ip_network(text)
    for text in (
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service
        "168.63.129.16/32",  # Azure's metadata service, in a public range
        "192.0.0.0/24",  # IETF assignments; Oracle's metadata service
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",  # benchmarks
        "64:ff9b:1::/48",  # local NAT64
        "2001::/32",  # Teredo
        "fec0::/10",  # site-local, as it was
    )
]
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@functools.lru_cache(maxsize=1024)
def is_public(address: str) -> bool:
    """False for private, loopback, link-local, multicast, reserved, unspecified and metadata addresses, also where
    they hide in an IPv6 address (mapped, 6to4, NAT64)."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    if ip.is_private or ip.is_loopback or ip.is_link_local or ip.is_multicast or ip.is_reserved or ip.is_unspecified:
        return False
    return ip.is_global and not any(ip in network for network in _BEYOND_IPADDRESS if network.version == ip.version)


def _lookup(host: str, port: int) -> list[tuple[int, _Address]]:
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    return [(family, address) for family, _, _, _, address in found if family in (socket.AF_INET, socket.AF_INET6)]


def _resolve(host: str, port: int, left: float) -> list[tuple[int, _Address]]:
    """The addresses of a host. The system's resolver cannot be interrupted: it gets a thread that is left behind."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        pass
    else:
        return _lookup(host, port)
    answer: list[list[tuple[int, _Address]] | Exception] = []

    def ask() -> None:
        try:
            answer.append(_lookup(host, port))
        except (OSError, UnicodeError) as error:
            answer.append(error)

    thread = threading.Thread(target=ask, name="exchange-resolver", daemon=True)
    thread.start()
    thread.join(left)
    if not answer:
        raise Unreachable("its name was not resolved in time")
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


def open_socket(host: str, port: int, exchange: Exchange) -> socket.socket:
    """Resolves once, checks, connects to an address that was checked. Raises Unreachable or Refused."""
    host = host.strip("[]")
    try:
        found = _resolve(host, port, exchange.left())
    except (OSError, UnicodeError) as error:
        detail = error.strerror if isinstance(error, OSError) and error.strerror else "it is no host name"
        raise Unreachable(f"its name cannot be resolved ({detail})") from None
    allowed = [each for each in found if exchange.allow_private or is_public(each[1][0])]
    if found and not allowed:
        raise Refused(host)
    reason = "its name has no address"
    for position, (family, address) in enumerate(allowed):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            for option in _OPTIONS:
                sock.setsockopt(*option)
            # An address that swallows packets must leave time for the next one.
            sock.settimeout(exchange.left() / (len(allowed) - position))
            sock.connect(address)
            sock.settimeout(exchange.left())
            return sock
        except TimeoutError:
            reason = "it did not take the connection in time"
        except OSError as error:
            reason = error.strerror or "the connection failed"
        except BaseException:
            sock.close()
            raise
        sock.close()
    raise Unreachable(reason)


def _begin(connection: HTTPConnection) -> None:
    """Called before anything is sent on a connection, new or kept alive."""
    exchange = current.exchange
    if connection.sock is None:
        connection.connect()
    exchange.sock = connection.sock
    exchange.left()
    exchange.sent = True


class _Plain(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return open_socket(self._dns_host, self.port, current.exchange)

    def send(self, data: Any) -> None:
        if not current.exchange.sent:
            _begin(self)
        super().send(data)


class _Encrypted(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        sock = open_socket(self._dns_host, self.port, current.exchange)
        # The handshake takes the socket's descriptor away: the watcher keeps one of its own until it is over.
        current.exchange.sock = sock.dup()
        return sock

    def connect(self) -> None:
        try:
            super().connect()
        finally:
            spare, current.exchange.sock = current.exchange.sock, None
            if spare is not None:
                spare.close()

    def send(self, data: Any) -> None:
        if not current.exchange.sent:
            _begin(self)
        super().send(data)


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _EncryptedPool(HTTPSConnectionPool):
    ConnectionCls = _Encrypted


@functools.cache
def authorities() -> Any:
    """One for the process: the authorities take a megabyte. Those of the system count too (a company's own)."""
    context = create_urllib3_context()
    context.load_verify_locations(certifi.where())
    context.load_default_certs()
    return context


class Adapter(HTTPAdapter):
    """Keeps connections alive for all threads of one destination; neither proxies nor environment."""

    def __init__(self, connections: int) -> None:
        self.poolmanager = PoolManager(num_pools=4)
        super().__init__(pool_connections=4, pool_maxsize=connections)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **pool_kwargs: Any) -> None:
        self.poolmanager = PoolManager(num_pools=connections, maxsize=maxsize, block=block, **pool_kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _EncryptedPool}

    def get_connection_with_tls_context(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        if request.url.startswith("https:") and "ssl_context" not in self.poolmanager.connection_pool_kw:
            self.poolmanager.connection_pool_kw["ssl_context"] = authorities()
        return self.poolmanager.connection_from_url(request.url)

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """The context verifies."""

    def request_url(self, request: Any, proxies: Any) -> str:
        return str(request.path_url)
