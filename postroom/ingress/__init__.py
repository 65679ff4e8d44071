"""Ways in: one file for each provider."""

from postroom.ingress.amazon_ses import AmazonSes
from postroom.ingress.base import Ingress
from postroom.ingress.brevo import Brevo
from postroom.ingress.cloudmailin import CloudMailin
from postroom.ingress.mailersend import MailerSend
from postroom.ingress.mailgun import Mailgun
from postroom.ingress.mailjet import Mailjet
from postroom.ingress.mandrill import Mandrill
from postroom.ingress.postal import Postal
from postroom.ingress.postmark import Postmark
from postroom.ingress.raw import Raw
from postroom.ingress.resend import Resend
from postroom.ingress.sendgrid import SendGrid
from postroom.ingress.socketlabs import SocketLabs
from postroom.ingress.sparkpost import SparkPost

_ALL: tuple[type[Ingress], ...] = (
    SocketLabs, AmazonSes, Brevo, CloudMailin, MailerSend, Mailgun, Mailjet, Mandrill, Postal, Postmark, Raw, Resend,
    SendGrid, SparkPost,
)  # fmt: skip
KINDS: dict[str, type[Ingress]] = {each.kind: each for each in _ALL}
"""Every kind of ingress by its name in config.yaml."""
