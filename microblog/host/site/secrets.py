"""Text that leaves root's hands, in a log's last lines or a mail: with secrets taken out."""

import re
from urllib.parse import unquote, urlsplit

from dotenv import dotenv_values

from microblog.host.machine import layout

_SECRETS = ("SECRET_KEY", "MAIL_PASSWORD", "MS_TRANSLATOR_KEY", "METRICS_TOKEN")
_URLS = ("DATABASE_URL", "ELASTICSEARCH_URL")
_GONE = "•••"
# Addresses that are secrets until they are used; passwords in URLs, headers and settings.
_PATTERNS = (
    re.compile(r"(?<=/reset/)[^\s\"/?]+|(?<=/confirm/)[^\s\"/?]+|(?<=/join/)[^\s\"/?]+"),
    re.compile(r"(?<=://)[^\s/@]+:[^\s/]+(?=@)"),
    re.compile(r"(?i)(?<=authorization: )\S.*|(?<=cookie: )\S.*"),
    re.compile(r"(?i)(?<=password=)[^\s&]+|(?<=secret_key=)\S+|(?<=token=)[^\s&]+"),
)


def clean(text: str) -> str:
    """Without what the settings keep secret, and without links that are."""
    for secret in sorted(_secrets(), key=len, reverse=True):
        text = text.replace(secret, _GONE)
    for pattern in _PATTERNS:
        text = pattern.sub(_GONE, text)
    # No control characters but the lines' ends.
    return "".join(letter if letter.isprintable() or letter in "\n\t" else "?" for letter in text)


def _secrets() -> set[str]:
    try:
        values = dotenv_values(layout.env_file(), interpolate=False)
    except (OSError, UnicodeDecodeError):
        return set()
    found = {values.get(name) or "" for name in _SECRETS}
    for name in _URLS:
        try:
            password = urlsplit(values.get(name) or "").password or ""
        except ValueError:
            continue
        found |= {password, unquote(password)}
    # A short one would take words out of everything.
    return {secret for secret in found if len(secret) >= 4}
