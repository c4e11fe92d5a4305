"""What somebody wants to hear of."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, SubmitField

from microblog.i18n import _l


class NotificationsForm(FlaskForm):
    """A field for each of ``microblog.models.notifications.KINDS``, by its name."""

    follow = BooleanField(_l("Somebody follows you"))
    reply = BooleanField(_l("Somebody answers you"))
    mention = BooleanField(_l("Somebody mentions you"))
    like = BooleanField(_l("Somebody likes your post"))
    repost = BooleanField(_l("Somebody passes your post on"))
    message = BooleanField(_l("Somebody writes you a message"))
    by_mail = BooleanField(_l("Mail me once a day what I have not read"))
    # Of messages, not of notifications.
    messages_from_all = BooleanField(
        _l("Take messages from everybody, not from those alone whom I follow and who follow me")
    )
    submit = SubmitField(_l("Save"))
