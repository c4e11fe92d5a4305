"""The forms of accounts."""

from typing import Any

from flask_login import current_user
from flask_wtf import FlaskForm
from wtforms import BooleanField, Field, Form, PasswordField, StringField, SubmitField, validators
from wtforms.validators import EqualTo, InputRequired, Regexp, ValidationError

from microblog.i18n import _l
from microblog.models import User
from microblog.models.passwords import PASSWORD_MAX, PASSWORD_MIN, easy_to_guess
from microblog.models.user import EMAIL, EMAIL_MAX, RESERVED, USERNAME, USERNAME_MAX, USERNAME_MIN
from microblog.web.extensions import own_account
from microblog.web.site_looks import site_name

# A recovery code has 19 characters; somebody may add some.
CODE_MAX = 40


class Length(validators.Length):
    """WTForms', without the field's maxlength: browsers count an emoji twice, and cut the rest off."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.field_flags: dict[str, Any] = {}


def strip(value: str | None) -> str | None:
    return value.strip() if value else value


def whole(pattern: str) -> str:
    return rf"(?:{pattern})\Z"


def hard_to_guess(form: Form, field: Field) -> None:
    """A validator: not one of the passwords that are tried first on this account.

    Whose it will be, a form's ``owner`` says, or its fields, or else it is the visitor's.
    """
    about = [form[name].data or "" for name in ("username", "email") if name in form]
    owner = getattr(form, "owner", None) or (own_account() if current_user.is_authenticated else None)
    if owner is not None:
        about += [owner.username, owner.email]
    if easy_to_guess(field.data or "", site_name(), *filter(None, about)):
        raise ValidationError(_l("Too easy to guess. Three or four words make a good password."))


def email_field(label: object, description: object = "") -> StringField:
    return StringField(
        label,
        description=description,
        filters=[strip],
        validators=[
            InputRequired(_l("Please enter your e-mail address.")),
            Length(max=EMAIL_MAX, message=_l("An e-mail address has at most %(max)d characters.")),
            Regexp(whole(EMAIL.pattern), message=_l("This is not an e-mail address.")),
        ],
        render_kw={"type": "email", "autocomplete": "email"},
    )


def new_password_field(label: object) -> PasswordField:
    return PasswordField(
        label,
        description=_l("At least 8 characters."),
        validators=[
            InputRequired(_l("Please choose a password.")),
            Length(PASSWORD_MIN, PASSWORD_MAX, message=_l("A password has %(min)d to %(max)d characters.")),
            hard_to_guess,
        ],
        render_kw={"autocomplete": "new-password"},
    )


def repeated_field(name: str) -> PasswordField:
    return PasswordField(
        _l("Password again"),
        validators=[
            InputRequired(_l("Please repeat the password.")),
            EqualTo(name, message=_l("The two passwords differ.")),
        ],
        render_kw={"autocomplete": "new-password"},
    )


class LoginForm(FlaskForm):
    username = StringField(
        _l("Username or e-mail"),
        filters=[strip],
        validators=[
            InputRequired(_l("Please enter your username.")),
            Length(max=EMAIL_MAX, message=_l("Wrong username or password.")),
        ],
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"},
    )
    password = PasswordField(
        _l("Password"),
        validators=[
            InputRequired(_l("Please enter your password.")),
            Length(max=PASSWORD_MAX, message=_l("Wrong username or password.")),
        ],
        render_kw={"autocomplete": "current-password"},
    )
    remember_me = BooleanField(_l("Remember me on this device"))
    submit = SubmitField(_l("Log in"))


def code_field(label: object, description: object, *checks: Any) -> StringField:
    """:param checks: validators, for who has typed one."""
    return StringField(
        label,
        description=description,
        filters=[strip],
        validators=[
            InputRequired(_l("Please enter the code.")),
            Length(max=CODE_MAX, message=_l("This is no code.")),
            *checks,
        ],
        render_kw={"autocomplete": "one-time-code", "autocapitalize": "none", "spellcheck": "false"},
    )


class CodeForm(FlaskForm):
    code = code_field(_l("Code"), _l("The six digits in your app, or one of your recovery codes."))
    submit = SubmitField(_l("Log in"))


class RegistrationForm(FlaskForm):
    username = StringField(
        _l("Username"),
        description=_l("3 to 32 letters, digits and underscores."),
        filters=[strip],
        validators=[
            InputRequired(_l("Please choose a username.")),
            Length(USERNAME_MIN, USERNAME_MAX, message=_l("A username has %(min)d to %(max)d characters.")),
            Regexp(
                whole(USERNAME.pattern), message=_l("Only letters A to Z, digits and underscores, please.")
            ),
        ],
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"},
    )
    email = email_field(_l("E-mail"), _l("Only you and the site's owner can see it."))
    password = new_password_field(_l("Password"))
    password2 = repeated_field("password")
    submit = SubmitField(_l("Create account"))

    def validate_username(self, field: Field) -> None:
        if not field.errors and (field.data.lower() in RESERVED or User.find(field.data)):
            raise ValidationError(_l("This username is taken."))

    def validate_email(self, field: Field) -> None:
        holder = User.find(field.data) if not field.errors else None
        # Who never proved to have it keeps nobody from it.
        if holder is not None and holder.email_confirmed:
            raise ValidationError(_l("This e-mail address has an account already."))


class ForgotForm(FlaskForm):
    email = email_field(_l("E-mail"))
    submit = SubmitField(_l("Send me a link"))


class ResetForm(FlaskForm):
    password = new_password_field(_l("New password"))
    password2 = repeated_field("password")
    submit = SubmitField(_l("Set password"))
