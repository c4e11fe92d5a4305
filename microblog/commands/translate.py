"""``microblog translate``: the interface's messages, as Babel's catalogs.

Babel is for those who translate: the site runs without it, on Python's gettext.
"""

import importlib.util
from pathlib import Path

import click

from microblog.errors import HostError

PACKAGE = Path(__file__).resolve().parent.parent
TRANSLATIONS = PACKAGE / "translations"
DOMAIN = "messages"
METHODS = [("**.py", "python"), ("templates/**.html", "jinja2"), ("templates/**.txt", "jinja2")]
# The functions of microblog.i18n, and which of their arguments are messages.
KEYWORDS = {"_": None, "_l": None, "_n": (1, 2)}


@click.group("translate")
def group() -> None:
    """Translate the interface."""
    if importlib.util.find_spec("babel") is None:
        raise HostError("Babel is not installed", "apt-get install python3-babel")


@group.command()
@click.argument("language")
def init(language: str) -> None:
    """Begin a translation into LANGUAGE, such as "pt" or "pt_BR"."""
    from babel import Locale, UnknownLocaleError

    try:
        locale = Locale.parse(language)
    except (ValueError, UnknownLocaleError):
        raise HostError(f"{language!r} is no language", 'write its code, such as "pt" or "pt_BR"') from None
    path = TRANSLATIONS / str(locale) / "LC_MESSAGES" / f"{DOMAIN}.po"
    if path.exists():
        raise HostError(f"{path} is there already", "bring it up to date with: microblog translate update")
    catalog = extract(locale)
    catalog.fuzzy = False
    write(path, catalog)
    click.echo(f"{path}: {len(catalog)} messages to translate; then add {locale} to microblog/i18n.py")


@group.command()
def update() -> None:
    """Bring the translations up to date with the source."""
    template = extract()
    for path in found():
        catalog = read(path)
        template.creation_date = catalog.creation_date
        catalog.update(template, no_fuzzy_matching=True)
        # What is no longer said need not be kept: the history has it.
        catalog.obsolete.clear()
        write(path, catalog)
        missing = sum(1 for message in catalog if message.id and not done(message))
        click.echo(f"{path}: {len(catalog)} messages, {missing} to translate")


@group.command("compile")
def compile_command() -> None:
    """Make the translations ready for use."""
    from babel.messages.mofile import write_mo

    for path in found():
        catalog = read(path)
        target = path.with_suffix(".mo")
        partial = target.with_suffix(".mo.partial")
        try:
            with partial.open("wb") as file:
                write_mo(file, catalog)
            partial.replace(target)
        except OSError as error:
            raise HostError(
                f"{target} cannot be written: {error.strerror}", "run this as its owner"
            ) from None
        click.echo(f"{target}: {len(catalog)} messages")


def found():
    """The paths of all translations."""
    paths = sorted(TRANSLATIONS.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))
    if not paths:
        raise HostError(f"there are no translations in {TRANSLATIONS}", "begin one: microblog translate init")
    return paths


def extract(locale=None):
    """The messages of the source, untranslated, as a catalog.

    :param locale: what they are to be translated into, if anything.
    """
    from babel.messages import Catalog
    from babel.messages.extract import extract_from_dir

    catalog = Catalog(locale=locale, header_comment="# Translations for Microblog.", project="Microblog")
    # Else Babel writes placeholders.
    catalog.version = catalog.msgid_bugs_address = catalog.last_translator = catalog.language_team = ""
    # In the same order on every machine; without line numbers, which change with every edit.
    rows = extract_from_dir(str(PACKAGE), METHODS, keywords=KEYWORDS, comment_tags=("Translators:",))
    for filename, _line, message, comments, context in sorted(
        rows, key=lambda row: (row[0], row[1], str(row[2]))
    ):
        catalog.add(message, locations=[(filename, None)], auto_comments=comments, context=context)
    return catalog


def done(message) -> bool:
    """Whether a message is translated, in all its forms."""
    forms = message.string if isinstance(message.string, (tuple, list)) else [message.string]
    return all(forms) and not message.fuzzy


def read(path: Path):
    from babel.messages.pofile import PoFileError, read_po

    try:
        with path.open("rb") as file:
            return read_po(file, locale=path.parent.parent.name, domain=DOMAIN, abort_invalid=True)
    except (PoFileError, UnicodeDecodeError, ValueError) as error:
        raise HostError(
            f"{path} is no translation: {error}", "mend it with an editor for .po files"
        ) from None
    except OSError as error:
        raise HostError(f"{path} cannot be read: {error.strerror}", "run this as its owner") from None


def write(path: Path, catalog) -> None:
    from babel.messages.pofile import write_po

    partial = path.with_suffix(".po.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write_po(file, catalog, width=100, omit_header=False)
        partial.replace(path)
    except OSError as error:
        raise HostError(f"{path} cannot be written: {error.strerror}", "run this as its owner") from None
