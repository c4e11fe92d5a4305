"""What may be written as a post."""

from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, TextAreaField
from wtforms.validators import DataRequired, ValidationError

from microblog.i18n import _, _l
from microblog.models.post import POST_MAX, clean_body


def clean(value: str | None) -> str | None:
    return clean_body(value) if value else value


class PostForm(FlaskForm):
    # Shown by posts/home.html itself.
    body = TextAreaField(filters=[clean], validators=[DataRequired(_l("Write something first."))])

    # Of this page alone: what is sent from it twice is one post.
    once = HiddenField()

    # Not WTForms' Length: that gives the field a maxlength, by which browsers count an emoji twice.
    def validate_body(self, field: Field) -> None:
        if (length := len(field.data)) > POST_MAX:
            raise ValidationError(
                _(
                    "A post has at most %(number)s characters; this one has %(length)s.",
                    number=POST_MAX,
                    length=length,
                )
            )
