"""Links and @names in what people write."""

import html
import random
import re
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest

from microblog.web.text import linked


def link(url, shown):
    return f'<a href="{html.escape(url)}" rel="nofollow noopener ugc">{html.escape(shown)}</a>'


def name(text):
    return f'<a href="/user/{text}">@{text}</a>'


LONG = f"https://example.org/{'x' * 60}"


@pytest.mark.parametrize(
    "text, expected",
    [
        ("plain", "plain"),
        ("<b> & \"quoted\" 'too'", "&lt;b&gt; &amp; &#34;quoted&#34; &#39;too&#39;"),
        # Addresses, and what of their sentence is not theirs.
        ("see http://example.org", f"see {link('http://example.org', 'example.org')}"),
        ("HTTPS://Example.org/A", link("HTTPS://Example.org/A", "Example.org/A")),
        ("(https://example.org/a).", f"({link('https://example.org/a', 'example.org/a')})."),
        ("https://example.org/a_(b)!", f"{link('https://example.org/a_(b)', 'example.org/a_(b)')}!"),
        ("https://example.org/?", f"{link('https://example.org/', 'example.org')}?"),
        ("«https://example.org»", f"«{link('https://example.org', 'example.org')}»"),
        ("https://example.org/a?b=1&c=2", link("https://example.org/a?b=1&c=2", "example.org/a?b=1&c=2")),
        ("<https://example.org>", f"&lt;{link('https://example.org', 'example.org')}&gt;"),
        ("https://пример.рф/путь", link("https://пример.рф/путь", "пример.рф/путь")),
        (LONG, link(LONG, f"example.org/{'x' * 27}…")),
        # What is no address that a reader could trust.
        ("javascript:alert(1)", "javascript:alert(1)"),
        ("ftp://example.org", "ftp://example.org"),
        ("https://", "https://"),
        ("https:///etc", "https:///etc"),
        ("https://bank.example@evil.example/", None),
        ("https://evil.example\\@bank.example", None),
        ("https://[::1", "https://[::1"),
        ("https://example.org:port", "https://example.org:port"),
        ("xhttps://example.org", "xhttps://example.org"),
        ('https://example.org" x="', f"{link('https://example.org', 'example.org')}&#34; x=&#34;"),
        ("https://example.org/\u202egro", f"{link('https://example.org/', 'example.org')}\u202egro"),
        # Tags.
        ("#Snow, (#лёд)!", '<a href="/tag/snow">#Snow</a>, (<a href="/tag/%D0%BB%D1%91%D0%B4">#лёд</a>)!'),
        # Names.
        ("@susan, @david_2!", f"{name('susan')}, {name('david_2')}!"),
        ("(@susan)", f"({name('susan')})"),
        ("@susan's", f"{name('susan')}&#39;s"),
        ("@Су @ab @", "@Су @ab @"),
        ("@ſusan @\u212aate", "@ſusan @\u212aate"),
        ("mail susan@example.org", "mail susan@example.org"),
        (f"@{'x' * 33}", f"@{'x' * 33}"),
        ("@@susan", "@@susan"),
        ("https://example.org/@susan", link("https://example.org/@susan", "example.org/@susan")),
        ("two\nlines", "two\nlines"),
    ],
)
def test_linked(text, expected):
    if expected is None:
        assert "<a" not in linked(text)
    else:
        assert linked(text) == expected


class Reader(HTMLParser):
    """What a browser makes of it: text, and links alone."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.text = ""
        self.links = []

    def handle_starttag(self, tag, attributes):
        assert tag == "a"
        self.links.append(dict(attributes))

    def handle_data(self, data):
        self.text += data


def test_whatever_is_written():
    """Nothing but links comes out, each to the web, to a profile or a tag, and no text is lost."""
    choice = random.Random(1)  # noqa: S311 - the same each time
    pieces = [
        *("http://", "https://", "HtTp://", "@", "susan", "example.org", "/", "\\", "//", ":", ":80"),
        *("&", "&lt;", "&#34;", "<", ">", "<script>", "</a>", '"', "'", "`", "(", ")", "[", "]", "{", "}"),
        *("onclick=", "javascript:", "data:", " ", "\n", ".", "…", "?", "#", "=", "%22", "%00"),
        *("\u202e", "\u200b", "é", "😀"),
    ]
    for _ in range(3000):
        text = "".join(choice.choice(pieces) for _ in range(choice.randint(1, 16)))
        reader = Reader()
        reader.feed(str(linked(text)))
        reader.close()
        for attributes in reader.links:
            target = attributes["href"]
            if target.startswith("/"):
                assert re.fullmatch(r"/user/\w{3,32}|/tag/[\w%.~-]+", target, re.ASCII)
                assert set(attributes) == {"href"}
            else:
                assert urlsplit(target).scheme in ("http", "https")
                assert set(attributes) == {"href", "rel"}
                assert target in text
        if "https" not in text.lower() and "http" not in text.lower():
            assert reader.text == text
