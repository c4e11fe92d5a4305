"""What is asked of who reports somebody."""

from flask_wtf import FlaskForm
from wtforms import SubmitField, TextAreaField

from microblog.i18n import _l
from microblog.models.reports import COMMENT_MAX
from microblog.models.user import clean_about
from microblog.web.auth.forms import Length


class ReportForm(FlaskForm):
    comment = TextAreaField(
        _l("What is wrong?"),
        description=_l("Only moderators read this."),
        filters=[clean_about],
        validators=[Length(max=COMMENT_MAX, message=_l("At most %(max)d characters, please."))],
        render_kw={"rows": 4, "dir": "auto"},
    )
    submit = SubmitField(_l("Report"))
