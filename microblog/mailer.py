"""Mail, sent by a thread: no visitor waits for a mail server.

What is not sent when a worker ends within seconds is lost; whoever misses a link asks again.
"""

import atexit
import logging
import re
import smtplib
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import localtime, make_msgid
from queue import Full, Queue

from microblog.config import MailServer

_logger = logging.getLogger("microblog")

# What may wait to be sent. More than that is a flood, or a mail server that hangs.
_QUEUE_MAX = 200
_TIMEOUT_SECONDS = 20
# How long a worker that ends goes on sending.
_LAST_SECONDS = 10


class Mailer:
    """A site's way to send mail.

    :param server: who takes the mail.
    :param sender: the address it comes from.
    :param name: the name it comes from.
    """

    def __init__(self, server: MailServer, sender: str, name: str) -> None:
        self.server = server
        self.sender = sender
        self.name = name
        self._queue: Queue[Callable[[], None]] = Queue(_QUEUE_MAX)
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def message(self, to: str, subject: str, text: str, name: str = "") -> EmailMessage:
        """A message of plain text.

        :param name: the name that it comes from, if it is another one by now.

        :raises ValueError: if a header would have a line break: no second header hides in one.
        """
        message = EmailMessage(policy=SMTP)
        # In two parts: as one, an address like first..last@example.org would need quotes that it lacks.
        message["From"] = Address(name or self.name, *_parts(self.sender))
        message["To"] = Address("", *_parts(to))
        message["Subject"] = subject
        message["Date"] = localtime()
        message["Message-ID"] = make_msgid(domain=self.sender.partition("@")[2])
        # No out-of-office replies (RFC 3834).
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        return message

    def send(self, message: EmailMessage) -> None:
        """Give a message to the mail server, now.

        :raises OSError: if it cannot be reached or refuses (smtplib's errors are some).
        """
        with connect(self.server, _TIMEOUT_SECONDS) as smtp:
            smtp.send_message(message)

    def later(self, job: Callable[[], None]) -> None:
        """Have the thread do something that sends mail; its errors are logged."""
        with self._lock:
            # Only now: a thread would not come along when a worker is forked.
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="mail", daemon=True)
                self._thread.start()
                atexit.register(self.wait, _LAST_SECONDS)
        try:
            self._queue.put_nowait(job)
        except Full:
            _logger.error("a mail is dropped: %s wait already", _QUEUE_MAX)

    def wait(self, seconds: float) -> bool:
        """Wait until all is done, or for so long.

        :return: whether all is done.
        """
        done = self._queue.all_tasks_done
        with done:
            return done.wait_for(lambda: not self._queue.unfinished_tasks, seconds)

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            try:
                job()
            except OSError as error:
                _logger.error("mail: %s:%s: %s", self.server.host, self.server.port, _reason(error))
            except Exception:
                _logger.exception("mail: a message could not be made")
            finally:
                # With what it knows, an application: not for as long as the next is waited for.
                del job
                self._queue.task_done()


@contextmanager
def connect(server: MailServer, seconds: float) -> Iterator[smtplib.SMTP]:
    """A mail server that has let us in.

    :param seconds: how long it may take with each answer.
    :raises OSError: if it cannot be reached or refuses (smtplib's errors are some).
    """
    where = (server.host, server.port)
    context = ssl.create_default_context() if server.tls else None
    connection = (
        smtplib.SMTP_SSL(*where, timeout=seconds, context=context)
        if server.tls == "tls"
        else smtplib.SMTP(*where, timeout=seconds)
    )
    with connection as smtp:
        if server.tls == "starttls":
            smtp.starttls(context=context)
        if server.username:
            smtp.login(server.username, server.password)
        yield smtp


def _parts(address: str) -> tuple[str, str]:
    mailbox, _, domain = address.rpartition("@")
    if re.search(r'[\s"(),:;<>@\[\\\]]', mailbox):
        raise ValueError("an invalid address")
    return mailbox, domain


def _reason(error: OSError) -> str:
    """What went wrong, without what a server may quote: addresses, log-in names."""
    code = getattr(error, "smtp_code", None)
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code = next((code for code, _ in error.recipients.values()), None)
    return f"{type(error).__name__} {code or error.strerror or ''}".strip()
