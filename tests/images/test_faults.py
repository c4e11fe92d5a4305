"""What the machine does about accidents."""

from visitor import Visitor, wait_until


def _master(host):
    return host.check_output("supervisorctl pid microblog").strip()


def test_a_killed_gunicorn_comes_back(booted, host):
    visitor = Visitor(booted.url)
    visitor.wait_for_site()
    before = _master(host)
    workers = host.check_output(f"pgrep -P {before}").split()
    host.check_output(f"kill -9 {before}")
    wait_until(lambda: _master(host) not in ("0", before), "supervisor starts gunicorn again")
    # They answer until they notice that they are alone.
    wait_until(lambda: host.run(f"ps -o pid= -p {','.join(workers)}").stdout == "", "the old workers end")
    visitor.wait_for_site()


def test_owner_can_reboot(rebooting):
    """It goes on by itself, while tests that want no machine are run."""
    # 255: the connection was cut off before the answer.
    assert rebooting.answer.returncode in (0, 255), rebooting.answer.stderr
