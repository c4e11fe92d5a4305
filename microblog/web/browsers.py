"""What a browser is, as its owner would say it."""

from microblog.i18n import _

# In this order: most call themselves by others' names too.
_BROWSERS = {
    "Edg": "Edge",
    "OPR": "Opera",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS = {
    "Android": "Android",
    "iPhone": "iPhone",
    "iPad": "iPad",
    "Windows": "Windows",
    "Mac OS": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


def name(agent: str) -> str:
    """A browser by what it calls itself (its User-Agent)."""
    browser = next((word for mark, word in _BROWSERS.items() if f"{mark}/" in agent), None)
    system = next((word for mark, word in _SYSTEMS.items() if mark in agent), None)
    if browser and system:
        return _("%(browser)s on %(system)s", browser=browser, system=system)
    return browser or system or agent[:40] or _("Unknown browser")
