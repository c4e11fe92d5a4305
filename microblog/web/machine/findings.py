"""What the doctor finds, in the reader's language: its sentences, each with what differs taken out of it."""

import re
from typing import Any

from microblog.i18n import _l

# docs/doctor.md has them all, by their names.
FINDINGS = {
    "application.down": _l("The application does not answer."),
    "application.impostor": _l("Another program answers at %(one)s, in the application's place."),
    "application.older": _l("The application runs with what an upgrade has replaced."),
    "application.unsupervised": _l("The application runs, and supervisor does not know it."),
    "backup.damaged": _l("The last backup cannot be restored: %(one)s."),
    "backup.drill": _l("No backup was seen to be good lately."),
    "backup.elsewhere": _l("The last backup is not in its second place."),
    "backup.old": _l("The last backup is old."),
    "backup.place": _l("No backup can be made: %(one)s is no folder."),
    "backup.sheet": _l("Nobody could restore the backups elsewhere: nobody has their key."),
    "backup.timer": _l("No backup is made by itself."),
    "certificate.insisted": _l("Browsers that know the site refuse it."),
    "certificate.names": _l("The certificate is not for %(one)s."),
    "certificate.pair": _l("Certificate and key do not belong together, or cannot be read."),
    "certificate.timer": _l("Nobody renews the certificate."),
    "clock": _l("The clock is wrong."),
    "database.down": _l("The site cannot use its database."),
    "database.schema": _l("The database's schema is not this version's."),
    "disk.full": _l("The disk of %(one)s is full."),
    "disk.inodes": _l("The disk of %(one)s can hold no more files."),
    "disk.readonly": _l("%(one)s is read-only."),
    "firewall.closed": _l("The firewall keeps visitors from port %(one)s."),
    "mail.deferred": _l("%(one)s messages wait, and nobody takes them."),
    "mail.down": _l("The mail server %(one)s does not answer."),
    "mail.links": _l("Links in mails lead to %(one)s."),
    "mail.login": _l("The mail server %(one)s does not take the password."),
    "mail.sender": _l("Other servers refuse mail from %(one)s."),
    "mail.signer": _l("Mail is not signed."),
    "mail.unsigned": _l("Mail from %(one)s is not signed."),
    "maintenance": _l("Visitors see the maintenance page."),
    "memory.size": _l("The database server is set up for a machine of another size."),
    "names.elsewhere": _l("The name %(one)s leads to another site."),
    "names.unanswered": _l("Nobody answers at %(one)s, as seen from here."),
    "nginx.listens": _l("The site does not listen as nginx's other sites do."),
    "nginx.refuses": _l("nginx does not accept its configuration."),
    "nginx.unlinked": _l("nginx does not know the site."),
    "package.unfinished": _l("The package is not installed to its end."),
    "permissions": _l("%(one)s is open to others, or closed to the site."),
    "port.taken": _l("Port %(one)s is taken by %(two)s."),
    "proxies.count": _l("All visitors count as one."),
    "restore.room": _l("The last backup could not be restored on this disk."),
    "settings.unclosed": _l("A line of the settings is lost."),
    "settings.unknown": _l("There is no setting %(one)s."),
    "settings.unusable": _l("The settings cannot be used."),
    "setup.failed": _l("The machine was not complete when it booted."),
    "site.by_hand": _l("Somebody else's program has this site's name."),
    "site.off": _l("The site is switched off."),
    "unit.down": _l("%(one)s does not run."),
    "unit.failed": _l("%(one)s has failed."),
    "unit.masked": _l("%(one)s is masked."),
    "visitors.elsewhere": _l("Visitors do not see the site."),
    "visitors.neighbour": _l("Visitors do not see the site: %(one)s has the web's ports."),
    "visitors.nobody": _l("Nobody can see the site."),
    "visitors.one_address": _l("The last %(one)s visits all came from %(two)s."),
    "visitors.page": _l("Visitors get an error in place of %(one)s."),
}
# What they say in too many ways to be taken apart.
AS_IT_IS = {"backup.unfinished", "certificate.end"}
_PART = re.compile(r"%\\\((\w+)\\\)s")


def told(finding: dict[str, Any]) -> str | None:
    """A finding's first sentence; None where it is known in English alone."""
    said = FINDINGS.get(finding["id"])
    if said is None:
        return None
    match = re.fullmatch(_PART.sub(r"(?P<\1>.+)", re.escape(said.message)), finding["what"])
    return str(said) % match.groupdict() if match else None
