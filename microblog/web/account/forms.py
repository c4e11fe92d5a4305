"""The forms of one's own account."""

from typing import Any

from flask_login import current_user
from flask_wtf import FlaskForm
from wtforms import BooleanField, Field, PasswordField, SelectField, StringField, SubmitField, TextAreaField
from wtforms.validators import DataRequired, InputRequired, StopValidation, ValidationError

from microblog.i18n import LANGUAGES, _l
from microblog.models import User
from microblog.models.passkeys import NAME_MAX
from microblog.models.passwords import PASSWORD_MAX, check_password
from microblog.models.throttle import forgive
from microblog.models.user import ABOUT_MAX, clean_about
from microblog.web import limits
from microblog.web.auth.forms import Length, code_field, email_field, new_password_field, repeated_field
from microblog.web.extensions import own_account


def own_password(_form: FlaskForm, field: Field) -> None:
    """A validator: the visitor's own password."""
    key = limits.PASSWORD.key(current_user.id)
    limits.check(key)
    if not check_password(own_account().password_hash, field.data or ""):
        raise ValidationError(_l("This is not your password."))
    forgive(key)


def own_password_field() -> PasswordField:
    return PasswordField(
        _l("Your present password"),
        validators=[
            InputRequired(_l("Please enter your password.")),
            Length(max=PASSWORD_MAX, message=_l("This is not your password.")),
            own_password,
        ],
        render_kw={"autocomplete": "current-password"},
    )


def own_code(form: FlaskForm, field: Field) -> None:
    """A validator: a code of the visitor's second factor. It stands behind the password, and uses none up
    where that is wrong."""
    if any(other.errors for other in form):
        raise StopValidation()
    if not limits.is_code(own_account(), field.data or ""):
        raise ValidationError(_l("This code is wrong, or was used already."))


def own_code_field() -> StringField:
    return code_field(_l("Code"), _l("The six digits in your app, or one of your recovery codes."), own_code)


class Language(SelectField):
    """WTForms', with an answer in the visitor's language."""

    def pre_validate(self, form: Any) -> None:
        if self.data not in ("", *LANGUAGES):
            raise ValidationError(_l("Please choose one of the list."))


class ProfileForm(FlaskForm):
    about = TextAreaField(
        _l("About you"),
        description=_l("Everybody can read this on your profile."),
        filters=[clean_about],
        validators=[Length(max=ABOUT_MAX, message=_l("At most %(max)d characters, please."))],
        render_kw={"rows": 4, "dir": "auto"},
    )
    locale = Language(
        _l("Language"),
        choices=[("", _l("As your browser prefers")), *LANGUAGES.items()],
    )
    hides_last_seen = BooleanField(_l("Do not show when I was last here"))
    # Shown where there is a choice.
    gravatar = BooleanField(
        _l("Take my picture from Gravatar: members' browsers then see a code made from my e-mail address")
    )
    members_only = BooleanField(_l("Let only members read what I write"))
    submit = SubmitField(_l("Save"))


class EmailForm(FlaskForm):
    email = email_field(_l("New e-mail address"))
    password = own_password_field()
    submit = SubmitField(_l("Change address"))

    def validate_email(self, field: Field) -> None:
        holder = User.find(field.data) if not field.errors else None
        # Who never proved to have it keeps nobody from it.
        if holder is not None and holder.email_confirmed:
            raise ValidationError(_l("This e-mail address has an account already."))


class PasswordForm(FlaskForm):
    password = own_password_field()
    new = new_password_field(_l("New password"))
    new2 = repeated_field("new")
    submit = SubmitField(_l("Change password"))


class SecondFactorForm(FlaskForm):
    code = code_field(_l("Code"), _l("The six digits that your app shows now."))
    password = own_password_field()
    submit = SubmitField(_l("Turn it on"))


class TurnOffForm(FlaskForm):
    password = own_password_field()
    code = own_code_field()
    submit = SubmitField(_l("Turn it off"))


class NewCodesForm(FlaskForm):
    password = own_password_field()
    code = own_code_field()
    submit = SubmitField(_l("Make new codes"))


class NewPasskeyForm(FlaskForm):
    name = StringField(
        _l("Name of the device"),
        filters=[lambda text: (text or "").strip()],
        validators=[
            DataRequired(_l("Please enter a name.")),
            Length(max=NAME_MAX, message=_l("At most %(max)d characters, please.")),
        ],
    )
    password = own_password_field()
    code = own_code_field()
    submit = SubmitField(_l("Add a passkey"))


class RemovePasskeyForm(FlaskForm):
    password = own_password_field()
    submit = SubmitField(_l("Remove"))


class DeleteForm(FlaskForm):
    password = own_password_field()
    submit = SubmitField(_l("Delete my account and all my posts"))


class ConfirmForm(FlaskForm):
    submit = SubmitField(_l("Confirm"))
