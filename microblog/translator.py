"""Microsoft Translator, where the site's owner has a key for it.

https://learn.microsoft.com/azure/ai-services/translator/text-translation/reference/v3/translate
"""

import json
import threading
import urllib.error
import urllib.request
from collections import OrderedDict
from http.client import HTTPException

URL = "https://api.cognitive.microsofttranslator.com/translate"
TIMEOUT = 5  # seconds, for each step of an answer
# Of an answer: a post's translation has a few hundred bytes.
ANSWER_MAX = 64 * 1024
# Translations kept by each worker, some 300 KB of them: a post that many read costs one call.
KEPT = 1000


class TranslatorError(Exception):
    """The service gave no translation. Says why, in words for the log; holds no secret."""


class Translator:
    """Texts in another language.

    :param key: the subscription's key.
    :param region: the resource's region, which all but global resources need.
    """

    def __init__(self, key: str, region: str = "") -> None:
        self._headers = {"Ocp-Apim-Subscription-Key": key, "Content-Type": "application/json; charset=UTF-8"}
        if region:
            self._headers["Ocp-Apim-Subscription-Region"] = region
        self._kept: OrderedDict[tuple[str, str], str] = OrderedDict()
        self._lock = threading.Lock()

    def kept(self, text: str, language: str) -> str | None:
        """A translation that was made before, which costs nothing."""
        wanted = (text, language)
        with self._lock:
            if wanted in self._kept:
                self._kept.move_to_end(wanted)
            return self._kept.get(wanted)

    def translate(self, text: str, language: str) -> str:
        """A text in ``language``; from what, the service finds out.

        :raises TranslatorError: if there is no answer, or none of use.
        """
        if (known := self.kept(text, language)) is not None:
            return known
        wanted = (text, language)
        # Not while holding the lock: a service that hangs must not hold up others.
        translation = self._ask(text, language)
        with self._lock:
            self._kept[wanted] = translation
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return translation

    def _ask(self, text: str, language: str) -> str:
        request = urllib.request.Request(  # noqa: S310 - https, and never from a user
            f"{URL}?api-version=3.0&to={language}",
            data=json.dumps([{"Text": text}]).encode(),
            headers=self._headers,
        )
        try:
            with _OPENER.open(request, timeout=TIMEOUT) as response:
                answer = json.loads(response.read(ANSWER_MAX))
            translation = answer[0]["translations"][0]["text"]
        except urllib.error.HTTPError as error:
            with error:
                raise TranslatorError(f"the service answers {error.code}") from None
        except (OSError, HTTPException) as error:
            raise TranslatorError(f"the service cannot be reached: {error}") from None
        except (ValueError, LookupError, TypeError, RecursionError):
            raise TranslatorError("the service's answer is none") from None
        if not isinstance(translation, str) or not translation:
            raise TranslatorError("the service's answer is none")
        return translation


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    # It would carry the key elsewhere.
    def redirect_request(self, *_args: object) -> None:
        return None


_OPENER = urllib.request.build_opener(_NoRedirect)
