#!/bin/sh
# Makes the first boot short: what a small cloud machine does not need is not run.
set -eu
echo "phase: tune"

# The name that the machine has until it is told another.
echo localhost > /etc/hostname
printf '127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n' > /etc/hosts

# cloud-init does all that somebody may write into the user data; what it does unasked, and slowly, it
# does when asked. Which disk GRUB is on, its package has to be told. Raspberry Pi OS has settings of its
# own, for what its Imager asks.
grub="{enabled: false}"
if dpkg-query --show --showformat '${db:Status-Status}' grub-pc 2> /dev/null | grep -qx installed; then
    grub="{enabled: true}"
fi
[ ! -d /etc/cloud/cloud.cfg.d ] || [ -e /etc/rpi-issue ] || cat > /etc/cloud/cloud.cfg.d/20-microblog.cfg <<END
ssh_genkeytypes: [ed25519]
locale: false
apt: {preserve_sources_list: true}
grub_dpkg: $grub
ssh: {emit_keys_to_console: false}
no_ssh_fingerprints: true
END
# What no module here does, a misspelt word among it, cloud-init passes over in silence: this says so, on
# the console and in the log.
if [ -d /etc/cloud/cloud.cfg.d ]; then
    cat > /usr/local/sbin/user-data-check <<'END'
#!/usr/bin/python3
"""Name what the user data has in it that this machine's cloud-init does not do."""

import json
import subprocess
from pathlib import Path

import yaml
from cloudinit import config, util

# What cloud-init itself reads.
KNOWN = {"datasource", "datasource_list", "launch-index", "merge_how", "merge_type", "network", "output",
         "system_info", "version"}

told = yaml.safe_load(Path("/var/lib/cloud/instance/cloud-config.txt").read_text()) or {}
schemas = Path(config.__file__).parent / "schemas"
defs = json.loads((schemas / "schema-cloud-config-v1.json").read_text())["$defs"]
system = util.read_conf_with_confd("/etc/cloud/cloud.cfg")
runs = set()
for stage in ("cloud_init_modules", "cloud_config_modules", "cloud_final_modules"):
    for entry in told.get(stage, system.get(stage)) or []:
        name = entry if isinstance(entry, str) else entry["name"] if isinstance(entry, dict) else entry[0]
        runs.add("cc_" + name.replace("-", "_"))
for key in told:
    does = {name for name, schema in defs.items() if key in schema.get("properties", {})}
    # The old words for what is below "apt" now.
    if key in KNOWN or key.startswith("apt_") or does & {*runs, "base_config", "reporting_config"}:
        continue
    modules = sorted(name[3:] for name in does if name.startswith("cc_"))
    why = f"module {modules[0]} is not run here" if modules else "cloud-init knows no such word"
    print(f"The user data has '{key}', which does nothing: {why}", flush=True)
# Debian's locale-gen makes those of /etc/locale.gen alone, whatever it is asked for.
wanted = str(told.get("locale") or "C")
known = subprocess.run(["locale", "-a"], stdout=subprocess.PIPE, text=True, check=False).stdout
if wanted.lower().replace("-", "") not in known.lower().replace("-", "").split():
    print(f"The user data has 'locale: {wanted}', which is not there: dpkg-reconfigure locales makes it", flush=True)
END
    chmod 755 /usr/local/sbin/user-data-check
    cat > /etc/systemd/system/user-data-check.service <<'END'
[Unit]
Description=Tell what the user data asks for and nothing here does
After=cloud-final.service
ConditionPathExists=/var/lib/cloud/instance/cloud-config.txt

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/user-data-check
StandardOutput=journal+console

[Install]
WantedBy=cloud-init.target
END
    systemctl enable --quiet user-data-check.service
fi
# The site first: on a machine of one CPU or two, the others would take half of its first minute.
cat > /etc/systemd/system/site-first.service <<'END'
[Unit]
Description=Wait until the site answers, or a minute
After=supervisor.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=-/usr/bin/timeout 60 /bin/bash -c 'until [ -S /run/microblog/socket/gunicorn.sock ]; do sleep 1; done'

[Install]
WantedBy=multi-user.target
END
systemctl enable --quiet site-first.service
for unit in cloud-config cloud-final fail2ban postfix@- snapd unattended-upgrades; do
    [ -e "/usr/lib/systemd/system/$unit.service" ] || [ -e "/lib/systemd/system/$unit.service" ] || continue
    mkdir -p "/etc/systemd/system/$unit.service.d"
    printf '[Unit]\nAfter=site-first.service\n' > "/etc/systemd/system/$unit.service.d/microblog.conf"
done
# A slow machine's postfix takes longer to start than the minute and a half that it is given.
if [ -d /etc/systemd/system/postfix@-.service.d ]; then
    printf '\n[Service]\nTimeoutStartSec=10min\n' >> /etc/systemd/system/postfix@-.service.d/microblog.conf
fi
# Checks LVM snapshots, which there are none of.
systemctl disable --quiet e2scrub_reap.service e2scrub_all.timer 2> /dev/null || true
