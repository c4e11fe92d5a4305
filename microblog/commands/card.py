"""The commands of a Raspberry Pi's card; its units call them, not people."""

import click


@click.group(hidden=True)
def group() -> None:
    """What the Raspberry Pi's image does with microblog.txt."""


@group.command()
def read() -> None:
    """Use what the owner has written on the card."""
    from microblog.host.card import boot

    boot.read(click.echo)


@group.command()
def admin() -> None:
    """Make the administrator's account that was asked for."""
    from microblog.host.card import boot

    boot.make_admin(click.echo)


@group.command()
def greeting() -> None:
    """Print where the site is, and whether it is up."""
    from microblog.host.card import boot

    click.echo(boot.greeting(), nl=False)


@group.command()
def template() -> None:
    """Print a microblog.txt in which nothing is set."""
    from microblog.host.card import bootfile

    click.echo(bootfile.TEMPLATE.replace("\n", "\r\n"), nl=False)
