"""What may be written as a post."""

from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, TextAreaField
from wtforms.validators import DataRequired, ValidationError

from microblog.i18n import _, _l
from microblog.models.post import POST_MAX, clean_body


def clean(value: str | None) -> str | None:
    return clean_body(value) if value else value


def too_long(body: str) -> str | None:
    """What to say of a text that is too long for a post."""
    if (length := len(body)) <= POST_MAX:
        return None
    return _(
        "A post has at most %(number)s characters; this one has %(length)s.", number=POST_MAX, length=length
    )


class PostForm(FlaskForm):
    # Shown by posts/home.html itself.
    body = TextAreaField(filters=[clean], validators=[DataRequired(_l("Write something first."))])

    # Of this page alone: what is sent from it twice is one post.
    once = HiddenField()

    # Not WTForms' Length: that gives the field a maxlength, by which browsers count an emoji twice.
    def validate_body(self, field: Field) -> None:
        if problem := too_long(field.data):
            raise ValidationError(problem)
