"""``microblog search``: the index of posts' texts."""

import click
from flask.cli import AppGroup

from microblog.elasticsearch import Unavailable
from microblog.errors import HostError
from microblog.models.search import reindex

group = AppGroup("search", help="Look after the search.")


@group.command("reindex")
def reindex_command() -> None:
    """Make the index of posts' texts afresh: Elasticsearch's where there is one, and the database's."""
    try:
        count = reindex()
    except Unavailable as error:
        raise HostError(str(error), "is ELASTICSEARCH_URL right, and the server up?") from None
    click.echo(f"{count} posts are in the index")
