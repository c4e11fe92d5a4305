"""The forms of the first run."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, RadioField, SelectField, StringField, SubmitField
from wtforms.validators import InputRequired, ValidationError

from microblog.i18n import LANGUAGES, _l
from microblog.models.site import CLOSED, INVITED, NAME_MAX, OPEN
from microblog.printable import is_printable
from microblog.web.auth.forms import Length, strip

MODES = (
    (OPEN, _l("Anybody")),
    (INVITED, _l("Whoever has an invitation from you")),
    (CLOSED, _l("Nobody")),
)


class StartForm(FlaskForm):
    """For who needs no code."""

    submit = SubmitField(_l("It is mine: set it up"))


class CodeForm(FlaskForm):
    code = StringField(
        _l("Code"),
        description=_l("8 letters; small or capital ones, with or without the hyphen."),
        filters=[strip],
        validators=[
            InputRequired(_l("Please enter the code.")),
            Length(max=40, message=_l("This is not the code.")),
        ],
        render_kw={"autocomplete": "one-time-code", "autocapitalize": "characters", "spellcheck": "false"},
    )
    submit = SubmitField(_l("It is mine: set it up"))


class AddressForm(FlaskForm):
    domain = StringField(
        _l("Name in the internet"),
        description=_l("For example blog.example.org."),
        filters=[strip],
        validators=[
            InputRequired(_l("Please enter a name.")),
            Length(max=253, message=_l("This is not a name.")),
        ],
        render_kw={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"},
    )
    submit = SubmitField(_l("See whether it leads here"))


class SiteForm(FlaskForm):
    name = StringField(
        _l("Name of the site"),
        description=_l("Visitors see it on every page."),
        filters=[strip],
        validators=[Length(max=NAME_MAX, message=_l("A site's name has at most %(max)d characters."))],
        render_kw={"autocomplete": "off"},
    )
    language = SelectField(
        _l("Language"),
        description=_l("For visitors whose browser asks for none that there is, and for mails."),
        choices=list(LANGUAGES.items()),
    )
    mode = RadioField(_l("Who may register?"), choices=MODES)
    approval = BooleanField(_l("I let each new account in myself, but for those I have invited"))
    submit = SubmitField(_l("Save and go on"))

    def validate_name(self, field: StringField) -> None:
        if not is_printable(field.data or ""):
            raise ValidationError(_l("This is not a name."))
