"""Ways in: one file for each provider."""

from postroom.ingress.base import Ingress
from postroom.ingress.socketlabs import SocketLabs

KINDS: dict[str, type[Ingress]] = {SocketLabs.kind: SocketLabs}
"""Every kind of ingress by its name in config.yaml."""
