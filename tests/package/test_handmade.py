"""The person who needs the product most: a site deployed by hand becomes one of ours, and loses nothing."""

import json
import re
from pathlib import Path

import by_hand
import pytest
from handmade import PASSWORD
from nspawn import Machine, try_install, wait_until
from sites import ENV

# What somebody who logs in with their old password reads at home.
LOG_IN = r"""
import re, ssl, sys
from http.cookiejar import CookieJar
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, HTTPSHandler, Request, build_opener

context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
opener = build_opener(HTTPCookieProcessor(CookieJar()), HTTPSHandler(context=context))
page = opener.open("https://localhost/login").read().decode()
token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)[1]
fields = {"csrf_token": token, "username": sys.argv[1], "password": sys.argv[2]}
request = Request("https://localhost/login", urlencode(fields).encode(), {"Referer": "https://localhost/login"})
print(opener.open(request).read().decode())
"""

KILLED = """
microblog import > /root/said 2>&1 & pid=$!
until grep -q Loading /root/said; do sleep 0.02; done
kill -9 $pid
"""


def home(server: Machine, name: str, password: str = PASSWORD) -> str:
    return server.run("python3", "-", name, password, stdin=LOG_IN)


@pytest.mark.parametrize(
    "mysql",
    [pytest.param(True, id="mariadb"), pytest.param(False, id="sqlite", marks=pytest.mark.thorough)],
)
def test_a_deployment_by_hand_is_taken_over(server: Machine, deb: Path, mysql: bool) -> None:
    server.run("apt-get", "purge", "--yes", "microblog", env={"DEBIAN_FRONTEND": "noninteractive"})
    server.sql("DROP DATABASE IF EXISTS microblog; DROP USER IF EXISTS microblog@localhost")
    server.run("rm", "-rf", "/var/lib/microblog", "/var/backups/microblog")
    by_hand.deploy(server, mysql)
    before = by_hand.state(server, mysql)

    # It is recognised and named, and goes on.
    said = try_install(server, deb)
    assert server.code == 0, said
    named = f"{by_hand.PROGRAM}, {by_hand.SITE}, {by_hand.FOLDER}"
    assert f"A site deployed by hand has this one's place: {named}" in said
    assert "'microblog import' takes its accounts, followers and posts over" in said
    server.run("systemctl", "start", "microblog-backup")
    server.reboot()
    by_hand.goes_on(server, 4)
    assert by_hand.state(server, mysql) == before
    for command in ("status", "doctor"):
        said = server.run("microblog", command, check=False)
        assert server.code == 1
        assert "Traceback" not in said
    assert server.run("ls", "/etc/nginx/sites-enabled").split() == ["microblog"]

    # First what would be taken; then it is.
    assert "Taken: 3 users, 4 posts, 3 follows" in server.run("microblog", "import", "--dry-run")
    # Killed while it loads, it has changed nothing, and is begun anew.
    server.run("sh", "-c", KILLED, check=False)
    assert "Taken" not in (server.root / "root/said").read_text()
    said = server.run("microblog", "import")
    assert "Taken: 3 users, 4 posts, 3 follows" in said
    assert "account 3 (john doe): is called john_doe here" in said
    assert "1 private messages" in said
    assert "SOURCE" not in said
    assert by_hand.state(server, mysql) == before
    by_hand.goes_on(server, 4)
    refused = server.run("microblog", "import", check=False)
    assert server.code == 1
    assert "this site has 3 accounts already: nothing was changed" in refused

    # Somebody goes on writing there; then it is retired, command by command as they are printed.
    by_hand.write(server, mysql, "the last one there")
    before = by_hand.state(server, mysql)
    commands = re.findall(r"(?m)^  (.+)$", said.partition("To put this one in its place:\n")[2])
    assert commands[0] == "supervisorctl stop microblog"
    assert commands[1] == "microblog import --replace"
    for command in commands:
        server.run("sh", "-c", command)
    wait_until("the site answers", server.answers)
    assert not by_hand.says(server)
    assert server.run("ls", "/etc/nginx/sites-enabled").split() == ["microblog"]
    for name in ("susan", "david", "john_doe", "susan@example.org"):
        assert "logout" in home(server, name), name
    page = home(server, "susan")
    for post in ("Beautiful day in Portland!", "The Avengers movie was so cool!", "the last one there"):
        assert post in page
    assert "logout" not in home(server, "susan", "cat dog mouse")
    assert "Nothing is wrong" in server.run("microblog", "doctor")
    assert json.loads(server.run("microblog", "status", "--json"))["ok"] is True
    assert server.run("microblog", "setup") == "Nothing was missing\n"
    # Theirs is as it was, to the last row; the settings are where they were moved.
    assert by_hand.state(server, mysql).splitlines()[-20:] == before.splitlines()[-20:]

    # It is a site like any other: backed up, restored, booted.
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    server.run("microblog", "user", "delete", "--yes", "david")
    server.run("microblog", "restore", "/root/b.tar.gz")
    server.reboot()
    wait_until("the site answers", server.answers)
    assert "The Avengers movie was so cool!" in home(server, "david")

    # And it goes as any other, without the old one's things.
    url = server.run("sed", "-n", "s/^DATABASE_URL=//p", ENV)
    assert ("microblog_site:" in url) == mysql
    server.run("debconf-set-selections", stdin="microblog microblog/purge-database boolean true\n")
    server.run("apt-get", "purge", "--yes", "microblog", env={"DEBIAN_FRONTEND": "noninteractive"})
    databases = server.sql("SHOW DATABASES; SELECT user FROM mysql.user")
    assert "microblog_site" not in databases
    assert ("microblog" in databases) == mysql


def test_removing_the_package_leaves_a_deployment_by_hand_alone(server: Machine) -> None:
    # A link, as to deployment/supervisor/ in the tutorial's own repository.
    server.run("microblog", "setup", "--leave")
    by_hand.deploy(server, mysql=False)
    kept = f"{by_hand.FOLDER}/supervisor.conf"
    server.run(
        "sh", "-ec", f"mv {by_hand.PROGRAM} {kept}; ln -s {kept} {by_hand.PROGRAM}; supervisorctl update"
    )
    by_hand.goes_on(server, 4)
    assert "A site deployed by hand has this one's place" in server.run("microblog", "setup")
    # Neither is its program given ours' settings.
    said = server.run("microblog", "mail", "--domain", "one.example", check=False)
    assert server.code == 1, said
    pid = server.run("supervisorctl", "pid", "microblog")
    server.run("apt-get", "remove", "--yes", "microblog", env={"DEBIAN_FRONTEND": "noninteractive"})
    assert server.run("supervisorctl", "pid", "microblog") == pid
    assert server.run("readlink", by_hand.PROGRAM).strip() == kept
    by_hand.goes_on(server, 4)
