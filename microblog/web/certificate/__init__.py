"""How a device comes to trust the site's own certificate authority: a page for everybody."""

from microblog.web.certificate.views import blueprint

__all__ = ["blueprint"]
