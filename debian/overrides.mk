# Read at the end of the debian/rules that stdeb writes.

# The agent's socket alone: restarted by an upgrade, it takes the agent with it, which starts when somebody
# asks. Jobs go on: an upgrade may be one.
#
# Setup is enabled, never started by debhelper: at boot systemd runs it, at install
# postinst runs the same command where its outcome decides the install's.
override_dh_installsystemd:
	dh_installsystemd --name=microblog-setup --no-start
	dh_installsystemd --name=microblog-backup microblog-backup.timer
	dh_installsystemd --name=microblog-agent microblog-agent.socket
	dh_installsystemd --name=microblog-job --no-start --no-stop-on-upgrade
	dh_installsystemd --name=microblog-update --no-start --no-stop-on-upgrade
	dh_installsystemd --name=microblog-failed@ --no-enable --no-start --no-stop-on-upgrade

# Python's own entry point script first reads the metadata of installed packages:
# a quarter of the time that setup takes at every boot.
execute_after_dh_auto_install:
	install -m 0755 debian/microblog.py debian/microblog/usr/bin/microblog
	install -D -m 0644 debian/completion.bash debian/microblog/usr/share/bash-completion/completions/microblog

# preinst refuses to go back to a version that cannot read the database: it cannot
# ask that version, which is not unpacked yet.
execute_after_dh_installdeb:
	sed -i "s/@REVISIONS@/$$(sed -n 's/^revision = "\(.*\)"/\1/p' microblog/migrations/versions/*.py | xargs)/" \
		debian/microblog/DEBIAN/preinst
