import ssl
import subprocess
import threading

import pytest
from aiosmtpd.smtp import AuthResult
from mail_sink import Sink

from microblog.config import MailServer
from microblog.mailer import Mailer
from microblog.web import letters


@pytest.fixture
def sink():
    with Sink() as sink:
        yield sink


@pytest.fixture
def mailer(sink):
    return Mailer(MailServer("127.0.0.1", sink.port), "noreply@example.org", "Our pläce")


def test_a_message(mailer, sink):
    mailer.send(mailer.message("susan@example.org", "Привет", "Línea\n\nhttps://example.org/" + "x" * 200))
    (message,) = sink.messages
    assert message.recipients == ["susan@example.org"]
    assert message["To"] == "susan@example.org"
    assert message["From"].addresses[0].display_name == "Our pläce"
    assert message["From"].addresses[0].addr_spec == "noreply@example.org"
    assert message["Subject"] == "Привет"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.org>")
    assert message["Date"]
    assert message.get_content().splitlines() == ["Línea", "", "https://example.org/" + "x" * 200]


@pytest.mark.parametrize(
    "to, subject",
    [
        ("susan@example.org\nBcc: all@example.org", "Hello"),
        ("susan@example.org, all@example.org", "Hello"),
        ("susan@example.org", "Hello\nBcc: all@example.org"),
        ("susan@example.org", "Hello\r\n\r\nA body"),
    ],
)
def test_no_second_header(mailer, to, subject):
    with pytest.raises(Exception, match=r"(?i)linefeed|invalid|addr|domain|CR or LF"):
        mailer.message(to, subject, "x")


def test_the_thread_sends(mailer, sink):
    for number in range(3):
        mailer.later(lambda number=number: mailer.send(mailer.message("a@example.org", str(number), "x")))
    assert mailer.wait(30)
    assert [message["Subject"] for message in sink.messages] == ["0", "1", "2"]


def test_failures_are_logged_without_secrets(mailer, sink, caplog):
    message = mailer.message("susan@example.org", "Hello", "a secret link")
    sink.refuse = "554 No mail for susan@example.org with a secret link"
    mailer.later(lambda: mailer.send(message))
    assert mailer.wait(30)
    assert "SMTPDataError 554" in caplog.text
    sink.stop()
    caplog.clear()
    mailer.later(lambda: mailer.send(message))
    assert mailer.wait(30)
    assert "ConnectionRefusedError" in caplog.text
    mailer.later(lambda: 1 / 0)
    assert mailer.wait(30)
    assert "ZeroDivisionError" in caplog.text
    assert "susan" not in caplog.text
    assert "secret" not in caplog.text


def test_the_queue_is_bounded(mailer, monkeypatch, caplog):
    monkeypatch.setattr("microblog.mailer._QUEUE_MAX", 2)
    mailer = Mailer(mailer.server, mailer.sender, mailer.name)
    # One that waits until all others have been turned away.
    go, begun, done = threading.Event(), threading.Event(), []
    mailer.later(lambda: (begun.set(), go.wait(60)))
    assert begun.wait(60)
    for number in range(5):
        mailer.later(lambda number=number: done.append(number))
    go.set()
    assert mailer.wait(30)
    assert done == [0, 1]
    assert caplog.text.count("a mail is dropped") == 3


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for 127.0.0.1, in one file."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-nodes",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(path), "-out", str(path.with_name("cert.pem"))),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes(path.read_bytes() + path.with_name("cert.pem").read_bytes())
    return path


@pytest.mark.parametrize("tls", ["starttls", "tls"])
@pytest.mark.parametrize("trusted", [True, False])
def test_tls_and_log_in(certificate, monkeypatch, caplog, tls, trusted):
    """The certificate is checked, and only then the password is sent."""
    seen = []

    def authenticate(_server, _session, _envelope, _mechanism, data):
        seen.append((data.login, data.password))
        return AuthResult(success=True)

    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_name("cert.pem")))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    options = {"authenticator": authenticate, "auth_required": True}
    # aiosmtpd sees the TLS of STARTTLS, not one that was there before it.
    if tls == "starttls":
        options.update(tls_context=context)
    else:
        options.update(ssl_context=context, auth_require_tls=False)
    with Sink(**options) as sink:
        server = MailServer("127.0.0.1", sink.port, "susan", "hunter2", tls)
        mailer = Mailer(server, "noreply@example.org", "Microblog")
        mailer.later(lambda: mailer.send(mailer.message("a@example.org", "Hello", "x")))
        assert mailer.wait(60)
        assert len(sink.messages) == trusted
    assert seen == ([(b"susan", b"hunter2")] if trusted else [])
    assert ("SSLCertVerificationError" in caplog.text) is not trusted


@pytest.mark.parametrize(
    "host_names, sender",
    [
        (("example.org:8443", "b.example"), "noreply@example.org"),
        (("192.0.2.1", "b.example"), "noreply@b.example"),
    ],
)
def test_the_sender(host_names, sender):
    assert letters.sender(host_names) == sender
