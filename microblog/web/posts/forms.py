"""The form to write a post."""

from flask_wtf import FlaskForm
from wtforms import Field, SubmitField, TextAreaField
from wtforms.validators import DataRequired, ValidationError

from microblog.models.post import POST_MAX, clean_body


def clean(value: str | None) -> str | None:
    return clean_body(value) if value else value


class PostForm(FlaskForm):
    body = TextAreaField(
        "What is on your mind?",
        description=f"Up to {POST_MAX} characters.",
        filters=[clean],
        validators=[DataRequired("Write something first.")],
        render_kw={"rows": 2},
    )
    submit = SubmitField("Post")

    # Not WTForms' Length: that gives the field a maxlength, by which browsers count an emoji twice.
    def validate_body(self, field: Field) -> None:
        if (length := len(field.data)) > POST_MAX:
            raise ValidationError(f"A post has at most {POST_MAX} characters; this one has {length}.")
