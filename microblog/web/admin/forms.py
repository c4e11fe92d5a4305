"""The administrators' forms."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, IntegerField, RadioField, SelectField, StringField, SubmitField
from wtforms.validators import InputRequired, NumberRange

from microblog.i18n import _, _l
from microblog.models.invitations import NOTE_MAX, USES_MAX
from microblog.models.site import CLOSED, INVITED, OPEN
from microblog.web.account.forms import own_password_field
from microblog.web.auth.forms import Length, strip

_MODES = (
    (OPEN, _l("Anybody")),
    (INVITED, _l("Whoever has an invitation")),
    (CLOSED, _l("Nobody")),
)
_DAYS = (("1", _l("A day")), ("7", _l("A week")), ("30", _l("30 days")), ("365", _l("A year")))


class RulesForm(FlaskForm):
    """Who may register."""

    mode = RadioField(_l("Who may register?"), choices=_MODES)
    approval = BooleanField(_l("Let each new account in by hand, but for those that were invited"))
    public = BooleanField(_l("Who is no member may read, too"))
    submit = SubmitField(_l("Save"))


class _Number(IntegerField):
    def process_formdata(self, valuelist: list[str]) -> None:
        try:
            super().process_formdata(valuelist)
        except ValueError:
            raise ValueError(_("Please enter a number.")) from None


class DeleteAccountForm(FlaskForm):
    password = own_password_field()
    submit = SubmitField(_l("Delete the account and everything of it"))


class InvitationForm(FlaskForm):
    note = StringField(
        _l("For whom"),
        description=_l("For yourself, to tell one from another."),
        filters=[strip],
        validators=[Length(max=NOTE_MAX, message=_l("At most %(max)d characters, please."))],
        render_kw={"autocomplete": "off"},
    )
    uses = _Number(
        _l("How many may use it"),
        default=1,
        validators=[
            InputRequired(_l("Please enter a number.")),
            NumberRange(1, USES_MAX, message=_l("A number from %(min)d to %(max)d, please.")),
        ],
        render_kw={"inputmode": "numeric"},
    )
    days = SelectField(_l("For how long"), choices=_DAYS, default="7")
    submit = SubmitField(_l("Make a link"))
