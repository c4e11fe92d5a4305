"""Texts as hypothesis draws them, for the rules that hold for whatever anybody writes.

Everyday runs draw the same few each time: what fails, fails again. --thorough draws many, and others.
"""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from builder.core.paths import cache_dir

# What has a meaning somewhere: to HTML, to a search engine, to a file of settings, to Unicode.
PIECES = [
    *("a", "Z", "9", " ", "\n", "\r\n", "_", "@", "#", "<", ">", "&", '"', "'", "\\", "\0", "\t", "%", "$"),
    *("\x1b", "https://", "HTTP://", "example.org", "/a?b=c&d", "(", ")", "[", "]", ".", ":80", "@susan"),
    *("javascript:", "ß", "İ", "\u017f", "\u212a", "é", "e\u0301", "й", "и\u0306", "ё", "\u202e", "\u200b"),
    *(
        "\u2028",
        "\x85",
        "😀",
        "👩\u200d👩",
        "日本",
        "の",
        "한",
        "ไ",
        "ह\u093f",
        "ﬃ",
        "ł",
        "\ufeff",
        "${HOME}",
    ),
    *(
        "&lt;",
        "<script>",
        "</a>",
        "onclick=",
        "--",
        "*",
        "NEAR",
        "AND",
        "=",
        "export ",
        "\u0344",
        "\U0001d160",
    ),
]
# No surrogates: they are in no text that comes by UTF-8.
LETTERS = st.characters(blacklist_categories=["Cs"])
TEXTS = st.one_of(
    st.text(LETTERS, max_size=60), st.lists(st.one_of(st.sampled_from(PIECES), LETTERS)).map("".join)
)
# As a line of a file can hold it.
LINES = TEXTS.map(lambda text: "".join(text.splitlines()).replace("\0", ""))


def settle(thorough: bool) -> None:
    """How much is drawn. Never by the clock: a slow machine is slower, not wrong."""
    import hypothesis.configuration

    hypothesis.configuration.set_hypothesis_home_dir(cache_dir() / "hypothesis")
    settings.register_profile(
        "microblog",
        max_examples=3000 if thorough else 100,
        derandomize=not thorough,
        database=None,
        deadline=None,
        # Fixtures of this suite last for many tests; how long it takes to draw says nothing.
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("microblog")
