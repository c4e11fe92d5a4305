"""A site deployed by hand, as the Flask Mega-Tutorial says, on a machine of its own life."""

import shlex

from handmade import statements
from nspawn import Machine, wait_until

FOLDER = "/home/ubuntu/microblog"
PROGRAM, SITE = "/etc/supervisor/conf.d/microblog.conf", "/etc/nginx/sites-enabled/microblog"
# Less than the tutorial's application: it says how many posts it has.
APPLICATION = """
import os
from pathlib import Path
from urllib.parse import urlsplit

settings = dict(line.split("=", 1) for line in Path(".env").read_text().splitlines())


def connect():
    url = settings.get("DATABASE_URL")
    if not url:
        import sqlite3

        return sqlite3.connect("app.db")
    import pymysql

    parts = urlsplit(url)
    return pymysql.connect(host=parts.hostname, user=parts.username, password=parts.password,
                           database=parts.path[1:], port=parts.port)


def app(environ, start_response):
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("SELECT COUNT(*) FROM post")
    text = f"the old site: {cursor.fetchone()[0]} posts"
    connection.close()
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [text.encode()]
"""
SUPERVISOR = f"""
[program:microblog]
command=/usr/bin/gunicorn -b localhost:8000 -w 1 microblog:app
directory={FOLDER}
user=ubuntu
autostart=true
autorestart=true
stopasgroup=true
killasgroup=true
"""
NGINX = f"""
server {{
    listen 80;
    server_name _;
    location / {{ return 301 https://$host$request_uri; }}
}}
server {{
    listen 443 ssl;
    server_name _;
    ssl_certificate {FOLDER}/certs/cert.pem;
    ssl_certificate_key {FOLDER}/certs/key.pem;
    access_log /var/log/microblog_access.log;
    location / {{
        proxy_pass http://localhost:8000;
        proxy_redirect off;
        proxy_set_header Host $host;
    }}
    location /static {{ alias {FOLDER}/app/static; expires 30d; }}
}}
"""
BY_HAND = f"""
useradd --create-home --shell /bin/bash ubuntu
mkdir -p {FOLDER}/app/static {FOLDER}/certs
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj /CN=byhand \
    -keyout {FOLDER}/certs/key.pem -out {FOLDER}/certs/cert.pem 2> /dev/null
rm -f /etc/nginx/sites-enabled/default
"""


def deploy(machine: Machine, mysql: bool) -> None:
    """By MySQL, or by SQLite, as the tutorial has it on small machines."""
    machine.run("sh", "-ec", BY_HAND)
    folder = machine.root / FOLDER[1:]
    env = "SECRET_KEY=52cb883e323b48d78a0a36e8e951ba4a\nMAIL_SERVER=localhost\nMAIL_PORT=25\n"
    if mysql:
        env += "DATABASE_URL=mysql+pymysql://microblog:db-pass@localhost:3306/microblog\n"
        machine.sql(
            "CREATE DATABASE microblog CHARACTER SET utf8 COLLATE utf8_bin;"
            "CREATE USER 'microblog'@'localhost' IDENTIFIED BY 'db-pass';"
            "GRANT ALL PRIVILEGES ON microblog.* TO 'microblog'@'localhost';"
            f"USE microblog; {';'.join(statements(mysql=True))}"
        )
    else:
        code = "import sqlite3, sys; sqlite3.connect('app.db').executescript(sys.stdin.read())"
        machine.run("env", "-C", FOLDER, "python3", "-c", code, stdin=";".join(statements(mysql=False)))
    (folder / ".env").write_text(env)
    (folder / "microblog.py").write_text(APPLICATION)
    (machine.root / PROGRAM[1:]).write_text(SUPERVISOR)
    (machine.root / SITE[1:]).write_text(NGINX)
    machine.run("sh", "-ec", f"chown -R ubuntu: {FOLDER}; chmod 750 ~ubuntu; chmod 600 {FOLDER}/.env")
    machine.run("sh", "-ec", "supervisorctl update; systemctl restart nginx")
    goes_on(machine, 4)


def goes_on(machine: Machine, posts: int) -> None:
    """Wait until its visitors read how many posts it has: nginx asks both addresses of localhost, one of
    which nobody listens on, and may need some seconds to find the other after a start."""
    wait_until("the old site answers", lambda: says(machine) == f"the old site: {posts} posts")


def says(machine: Machine) -> str:
    """What the old site's visitors read; empty if it is not that site."""
    text = machine.get("https://localhost/").body
    return text if text.startswith("the old site") else ""


def state(machine: Machine, mysql: bool) -> str:
    """All of it: its files and its database."""
    files = f"find {FOLDER} {PROGRAM} {SITE} -type f ! -name '*.pyc' -exec sha256sum {{}} + ; ls -lR {FOLDER}"
    dump = "mysqldump --skip-dump-date --no-tablespaces microblog"
    dump += "; mysqldump --skip-dump-date --system=users 2> /dev/null | grep -v '^-- Dump completed'"
    text = machine.run("sh", "-c", f"{files}; {dump if mysql else ''}")
    # That this site makes a user beside theirs is no change of theirs.
    return "\n".join(line for line in text.splitlines() if "microblog_site" not in line)


def write(machine: Machine, mysql: bool, body: str) -> None:
    """Somebody writes a post there."""
    columns = "body, timestamp, user_id"
    statement = f"INSERT INTO post ({columns}) VALUES ('{body}', '2024-05-06 07:08:09', 1)"  # noqa: S608
    if mysql:
        machine.sql(f"USE microblog; {statement}")
        return
    code = f"import sqlite3; c = sqlite3.connect('app.db'); c.execute({statement!r}); c.commit()"
    command = f"cd {FOLDER} && python3 -c {shlex.quote(code)}"
    machine.run("runuser", "-u", "ubuntu", "--", "sh", "-c", command)
