"""Passwords, hashed."""

from werkzeug.security import check_password_hash, generate_password_hash

PASSWORD_MIN = 8
PASSWORD_MAX = 128

# The one method of all supported Werkzeug versions: scrypt came with 2.3, and a database must
# open on an older system than the one it was written on. The count is OWASP's figure for
# PBKDF2-HMAC-SHA256: some 0.2 seconds on a server, a second or two on a Raspberry Pi 3.
METHOD = "pbkdf2:sha256:600000"


def hash_password(password: str) -> str:
    return generate_password_hash(password, method=METHOD)


def check_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one that was hashed. Without a hash: false, after the same time."""
    if password_hash is None:
        check_password_hash(f"{METHOD}$nobody$", password)
        return False
    return check_password_hash(password_hash, password)
