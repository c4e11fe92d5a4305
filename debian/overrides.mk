# Read at the end of the debian/rules that stdeb writes.

# Enabled, never started by debhelper: at boot systemd runs it, at install
# postinst runs the same command where its outcome decides the install's.
override_dh_installsystemd:
	dh_installsystemd --name=microblog-setup --no-start
