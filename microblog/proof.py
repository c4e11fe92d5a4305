"""Who answers a health check: whoever knows the site's key, and nobody in the application's place."""

import hashlib
import hmac

# The question in a request, the answer in the response.
HEADER = "X-Microblog-Proof"
_QUESTION_MAX = 64


def answer(key: str, question: str) -> str:
    """What only the site can say to a question. :param key: its secret key."""
    if len(question) > _QUESTION_MAX:
        return ""
    return hmac.new(key.encode(), b"healthz: " + question.encode(), hashlib.sha256).hexdigest()


def holds(key: str, question: str, said: str) -> bool:
    """Whether that is the answer."""
    return hmac.compare_digest(answer(key, question).encode(), said.encode())
