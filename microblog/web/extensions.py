"""Flask's extensions, bound to the application when it is made. The database has its own module."""

from flask_login import LoginManager
from flask_wtf.csrf import CSRFProtect

from microblog.models import User

csrf = CSRFProtect()
login = LoginManager()
login.login_view = "auth.login"
login.login_message = "Please log in to see this page."
login.user_loader(User.from_id)
