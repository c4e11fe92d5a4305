"""The forms of accounts."""

from flask_wtf import FlaskForm
from wtforms import BooleanField, Field, PasswordField, StringField, SubmitField
from wtforms.validators import EqualTo, InputRequired, Length, Regexp, ValidationError

from microblog.models import User
from microblog.models.passwords import PASSWORD_MAX, PASSWORD_MIN
from microblog.models.user import EMAIL, EMAIL_MAX, RESERVED, USERNAME, USERNAME_MAX, USERNAME_MIN


def strip(value: str | None) -> str | None:
    return value.strip() if value else value


def whole(pattern: str) -> str:
    return rf"(?:{pattern})\Z"


class LoginForm(FlaskForm):
    username = StringField(
        "Username or e-mail",
        filters=[strip],
        validators=[InputRequired("Please enter your username."), Length(max=EMAIL_MAX)],
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"},
    )
    password = PasswordField(
        "Password",
        validators=[InputRequired("Please enter your password."), Length(max=PASSWORD_MAX)],
        render_kw={"autocomplete": "current-password"},
    )
    remember_me = BooleanField("Remember me on this device")
    submit = SubmitField("Log in")


class RegistrationForm(FlaskForm):
    username = StringField(
        "Username",
        description=f"{USERNAME_MIN} to {USERNAME_MAX} letters, digits and underscores.",
        filters=[strip],
        validators=[
            InputRequired("Please choose a username."),
            Length(
                USERNAME_MIN,
                USERNAME_MAX,
                message=f"A username has {USERNAME_MIN} to {USERNAME_MAX} characters.",
            ),
            Regexp(whole(USERNAME.pattern), message="Only letters A to Z, digits and underscores, please."),
        ],
        render_kw={"autocomplete": "username", "autocapitalize": "none", "spellcheck": "false"},
    )
    email = StringField(
        "E-mail",
        description="Only you and the site's owner can see it.",
        filters=[strip],
        validators=[
            InputRequired("Please enter your e-mail address."),
            Length(max=EMAIL_MAX, message=f"An e-mail address has at most {EMAIL_MAX} characters."),
            Regexp(whole(EMAIL.pattern), message="This is not an e-mail address."),
        ],
        render_kw={"type": "email", "autocomplete": "email"},
    )
    password = PasswordField(
        "Password",
        description=f"At least {PASSWORD_MIN} characters.",
        validators=[
            InputRequired("Please choose a password."),
            Length(
                PASSWORD_MIN,
                PASSWORD_MAX,
                message=f"A password has {PASSWORD_MIN} to {PASSWORD_MAX} characters.",
            ),
        ],
        render_kw={"autocomplete": "new-password"},
    )
    password2 = PasswordField(
        "Password again",
        validators=[
            InputRequired("Please repeat the password."),
            EqualTo("password", message="The two passwords differ."),
        ],
        render_kw={"autocomplete": "new-password"},
    )
    submit = SubmitField("Create account")

    def validate_username(self, field: Field) -> None:
        if not field.errors and (field.data.lower() in RESERVED or User.find(field.data)):
            raise ValidationError("This username is taken.")

    def validate_email(self, field: Field) -> None:
        if not field.errors and User.find(field.data):
            raise ValidationError("This e-mail address has an account already.")
