"""A database server elsewhere that lets nobody in without TLS, with a certificate of its own authority."""

import pytest
from nspawn import Machine
from sites import ENV, fill, look

# Two authorities, a certificate for 127.0.0.1 of the first one's, and files that are of no use.
CERTIFICATES = r"""
mkdir -p /etc/mysql/tls && cd /etc/mysql/tls
new="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
for ca in right wrong; do
    openssl req -x509 $new -days 9 -subj "/CN=$ca authority" -keyout $ca.key -out $ca.pem
done
openssl req $new -subj /CN=database -keyout key.pem -out asked.pem
echo 'subjectAltName = IP:127.0.0.1' > names
openssl x509 -req -in asked.pem -CA right.pem -CAkey right.key -CAcreateserial -days 9 \
    -extfile names -out cert.pem
chown mysql: key.pem
cp right.pem wrong.pem /etc/microblog && chmod 644 /etc/microblog/*.pem
echo nothing > /etc/microblog/empty.pem
install -m 600 right.pem /etc/microblog/secret.pem
"""
TLS = """[mysqld]
ssl_cert = /etc/mysql/tls/cert.pem
ssl_key = /etc/mysql/tls/key.pem
require_secure_transport = ON
"""
# What DATABASE_URL has, and what is said of it: in the first line, and in the second, the way out.
REFUSED = {
    "": ("at 127.0.0.1:3306 refuses: ", "if it asks for TLS, add ?ssl_ca=FILE"),
    "?ssl_ca=/etc/microblog/wrong.pem": (
        "at 127.0.0.1:3306 is not who DATABASE_URL says: unable to get local issuer certificate",
        "let ssl_ca there name",
    ),
    "?ssl_ca=/etc/microblog/none.pem": ("/etc/microblog/none.pem, which DATABASE_URL names", "put it there"),
    "?ssl_ca=/etc/microblog/empty.pem": ("for TLS, has no certificate", "as PEM"),
    "?ssl_ca=/etc/microblog/secret.pem": ("the user microblog cannot read /etc/microblog/secret.pem", "644"),
}
RIGHT = "?ssl_ca=/etc/microblog/right.pem"


@pytest.mark.thorough
def test_a_database_server_that_asks_for_tls(server: Machine) -> None:
    server.run("sh", "-ec", CERTIFICATES)
    server.sql(
        "CREATE DATABASE shared CHARACTER SET utf8mb4; CREATE USER web@'%' IDENTIFIED BY 'secret';"
        "GRANT ALL ON shared.* TO web@'%'; GRANT ALL ON `shared\\_%`.* TO web@'%'"
    )

    def name(query: str) -> None:
        url = f"mysql+pymysql://web:secret@127.0.0.1/shared{query}"
        server.run("sed", "-i", f"s|^DATABASE_URL=.*|DATABASE_URL='{url}'|", ENV)

    def refused(*arguments: str) -> list[str]:
        said = server.run("microblog", *arguments, check=False).splitlines()
        assert server.code == 1, said
        assert "Traceback" not in str(said)
        assert "secret@" not in str(said)
        return said

    # One that has none is not gone to in the clear.
    if "mariadb" in server.run("mariadb", "--version").lower():
        name(RIGHT)
        assert "offers no TLS, which DATABASE_URL asks for" in refused("setup")[-2]

    folder = next(
        path
        for folder in ("mariadb.conf.d", "mysql.conf.d", "conf.d")
        if (path := server.root / "etc/mysql" / folder).is_dir()
    )
    (folder / "zz-tls.cnf").write_text(TLS)
    server.run("systemctl", "restart", "mysql")
    for query, (wrong, way_out) in REFUSED.items():
        name(query)
        *_, first, second = refused("setup")
        assert wrong in first
        assert way_out in second
        if "wrong" in query:
            assert wrong in str(refused("status"))
            assert wrong in str(refused("doctor"))

    name(RIGHT)
    server.run("microblog", "setup")
    assert server.answers()
    assert "MySQL, shared on 127.0.0.1" in server.run("microblog", "status")
    fill(server, "alice", 3)
    server.run("microblog", "backup", "--output", "/root/b.tar.gz")
    fill(server, "bob", 3)
    server.run("microblog", "restore", "/root/b.tar.gz")
    assert "alice 2" in look(server)
    assert "bob 2" not in look(server)
    assert server.answers()
    assert "Nothing is wrong" in server.run("microblog", "doctor", check=False)
