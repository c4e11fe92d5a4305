"""A mail server that keeps what it is given."""

import email
import email.policy

from aiosmtpd.controller import Controller


class FreePort(Controller):
    """A controller that finds its own port out before it tries it."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Sink:
    """An SMTP server on a free port of the loopback; ``messages`` is what came.

    :param options: aiosmtpd's.
    """

    def __init__(self, **options):
        self.messages = []
        self.controller = FreePort(self, hostname="127.0.0.1", port=0, **options)
        self.refuse = None

    def __enter__(self):
        self.controller.start()
        return self

    def __exit__(self, *_error):
        self.stop()

    def stop(self):
        if self.controller.loop.is_running():
            self.controller.stop()

    @property
    def port(self):
        return self.controller.port

    async def handle_DATA(self, _server, _session, envelope):
        if self.refuse:
            return self.refuse
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        message.recipients = envelope.rcpt_tos
        self.messages.append(message)
        return "250 Taken"
