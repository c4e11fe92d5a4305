"""First boots, interruptions, removal and return."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from nspawn import Kept, Machine, install, wait_until
from sites import ENV, FORGET


@pytest.fixture
def image(baked: Kept, new_machine: Callable[..., Machine]) -> Machine:
    """A machine of a baked image, not yet booted."""
    return new_machine(baked.layers, boot=False)


def test_nothing_is_made_where_services_may_not_run(image: Machine) -> None:
    found = {str(path.relative_to(image.root)) for path in (image.root / "etc/microblog").rglob("*")}
    assert found == {f"etc/microblog/{name}" for name in ("name", "setup.conf", "supervisor.conf")}
    for path in ("var/lib/microblog", "var/log/microblog", "var/lib/mysql/microblog", "run/microblog"):
        folder = image.root / path
        assert not folder.exists() or not list(folder.iterdir()), path
    assert (image.root / "etc/nginx/sites-enabled/default").is_symlink()
    assert not (image.root / "etc/nginx/sites-enabled/microblog").is_symlink()
    assert not (image.root / "etc/supervisor/conf.d/microblog.conf").is_symlink()
    assert (image.root / "etc/systemd/system/multi-user.target.wants/microblog-setup.service").is_symlink()
    # Root's, who alone may change what runs.
    compiled = [*(image.root / "var/cache/microblog/templates").iterdir()]
    assert len(compiled) > 30
    assert {(path.stat().st_uid, path.stat().st_mode & 0o777) for path in compiled} == {(0, 0o644)}
    image.destroy()


def test_first_boot_makes_the_site_and_two_machines_differ(
    image: Machine, baked: Kept, new_machine: Callable[..., Machine]
) -> None:
    secrets = []
    for machine in (image, new_machine(baked.layers, boot=False)):
        machine.boot()
        wait_until("the site answers", machine.answers)
        assert machine.run("systemctl", "--failed", "--plain", "--no-legend").split()[:1] in ([], ["ifup@"])
        # The application began while its tables were being made.
        ended = "until systemctl show -p SubState microblog-setup | grep -q exited; do sleep 0.1; done"
        machine.run("sh", "-c", ended)
        begun = machine.run("systemctl", "show", "--property=ActiveEnterTimestampMonotonic", "supervisor")
        made = machine.run(
            "systemctl", "show", "--property=ExecMainExitTimestampMonotonic", "microblog-setup"
        )
        assert 0 < int(begun.split("=")[1]) < int(made.split("=")[1])
        certificate = machine.run("cat", "/etc/microblog/tls/cert.pem")
        secrets.append((machine.run("grep", "SECRET_KEY", ENV), certificate))
        machine.destroy()
    assert secrets[0][0] != secrets[1][0]
    assert secrets[0][1] != secrets[1][1]


def test_a_database_named_beforehand_is_used(image: Machine) -> None:
    written = "# ours\nSITE_NAME='Our place'\nDATABASE_URL=sqlite:////var/lib/microblog/ours.db"
    env = image.root / ENV[1:]
    # As cloud-init's write_files leaves it.
    env.write_text(written)
    env.chmod(0o644)
    image.boot()
    wait_until("the site answers", image.answers)
    assert image.run("cat", ENV).startswith(written + "\nSECRET_KEY=")
    assert image.run("stat", "-c", "%a %U:%G", ENV).strip() == "640 root:microblog"
    assert image.run("stat", "-c", "%a %U", "/var/lib/microblog/ours.db").strip() == "640 microblog"
    assert "microblog" not in image.sql("SHOW DATABASES; SELECT user FROM mysql.user").split()
    assert "Our place" in image.get("https://localhost/first-run").body
    assert "SQLite" in image.run("microblog", "status")
    image.destroy()


def test_a_broken_setting_is_one_clear_line_and_the_services_come_up(image: Machine) -> None:
    (image.root / ENV[1:]).write_text("DATABASE_URL=postgresql://elsewhere/x\n")
    image.boot()
    said = image.run("microblog", "setup", check=False)
    assert image.code == 1
    assert said.splitlines()[-2].startswith("microblog: DATABASE_URL is neither sqlite: nor mysql+pymysql:")
    assert "Traceback" not in said
    assert image.run("systemctl", "is-active", "nginx", "supervisor").split() == ["active", "active"]
    image.run("sed", "-i", "s|^DATABASE_URL.*||", ENV)
    image.run("microblog", "setup")
    assert image.answers()
    image.destroy()


def test_setup_killed_anywhere_heals(server: Machine) -> None:
    dice = random.Random(20)  # noqa: S311
    for start in (0.0, 0.3, 0.6, 0.9, 1.2):
        server.run("sh", "-c", FORGET)
        delay = start + dice.uniform(0.05, 0.35)
        server.run("timeout", "--signal=KILL", f"{delay:.2f}", "microblog", "setup", check=False)
        server.run("microblog", "setup")
        assert server.answers(), f"after a kill at {delay:.2f} s"
        assert server.run("microblog", "setup") == "Nothing was missing\n"
        left = server.run("find", "/etc/microblog", "/etc/nginx", "/etc/supervisor", "-name", ".*.new")
        assert "secret" not in left


def test_a_power_cut_heals_at_the_next_boot(image: Machine) -> None:
    image.boot()
    image.run("sh", "-c", FORGET, check=False)
    image.run("systemd-run", "--quiet", "microblog", "setup")
    wait_until("setup is under way", lambda: (image.root / ENV[1:]).exists())
    image.kill()
    image.boot()
    wait_until("the site answers", image.answers)
    image.destroy()


def test_nginx_refusing_the_site_is_undone(server: Machine) -> None:
    server.run("sh", "-c", FORGET)
    bad = server.root / "etc/nginx/conf.d/bad.conf"
    bad.write_text("nonsense on;\n")
    said = server.run("microblog", "setup", check=False)
    assert server.code == 1
    assert 'unknown directive "nonsense"' in said
    assert server.run("ls", "/etc/nginx/sites-enabled").split() == ["default"]
    bad.unlink()
    server.run("microblog", "setup")
    assert server.answers()


def test_remove_gives_back_and_reinstall_resumes(server: Machine, deb: Path) -> None:
    env = server.run("cat", ENV)
    server.sql("INSERT INTO mysql.help_keyword VALUES (999999, 'kept')", check=False)
    server.sql("CREATE TABLE microblog.kept (x INT)")

    install(server, deb, "--reinstall")
    assert server.run("cat", ENV) == env
    assert server.answers()

    server.run("apt-get", "remove", "--yes", "microblog")
    assert server.run("ls", "/etc/nginx/sites-enabled").split() == ["default"]
    assert "Welcome to nginx" in server.get("http://localhost/").body
    assert server.run("pgrep", "gunicorn", check=False) == ""
    assert not (server.root / "var/cache/microblog/templates").exists()
    assert "microblog" not in server.run("supervisorctl", "status", check=False)

    install(server, deb)
    assert server.run("cat", ENV) == env
    assert server.answers()
    assert server.sql("SHOW TABLES IN microblog LIKE 'kept'").strip() == "kept"


def test_purge_leaves_the_database_alone(server: Machine, deb: Path) -> None:
    secret = server.run("grep", "SECRET_KEY", ENV)
    server.run("apt-get", "purge", "--yes", "microblog")
    left = server.run(
        "find", "/etc", "/var", "/usr", "/run", "-name", "*microblog*", "-not", "-path", "/var/cache/*"
    )
    assert {
        line for line in left.split() if not line.startswith(("/var/log/nginx/", "/var/log/journal"))
    } == {"/var/lib/mysql/microblog"}
    assert server.run("getent", "passwd", "microblog", check=False) == ""
    assert "Welcome to nginx" in server.get("http://localhost/").body

    install(server, deb)
    assert server.answers()
    assert server.run("grep", "SECRET_KEY", ENV) != secret


def test_the_default_site_stays_where_the_admin_wants_it(server: Machine, deb: Path) -> None:
    server.run("apt-get", "purge", "--yes", "microblog")
    server.run("debconf-set-selections", stdin="microblog microblog/nginx-default-site boolean false\n")
    install(server, deb)
    assert server.run("ls", "/etc/nginx/sites-enabled").split() == ["default", "zz-microblog"]
    assert "Welcome to nginx" in server.get("http://localhost/").body


def test_without_recommends_the_site_runs_on_sqlite(
    base: Path, deb: Path, new_machine: Callable[..., Machine]
) -> None:
    machine = new_machine([base])
    install(machine, deb, "--no-install-recommends")
    socket = ("--unix-socket", "/run/microblog/socket/gunicorn.sock")
    assert machine.get("http://localhost/healthz", *socket).status == 200
    assert (
        machine.run("stat", "-c", "%a %U:%G", "/var/lib/microblog/microblog.db").strip()
        == "640 microblog:microblog"
    )
    machine.run("apt-get", "purge", "--yes", "microblog")
    assert (machine.root / "var/lib/microblog/microblog.db").exists()
    machine.destroy()
