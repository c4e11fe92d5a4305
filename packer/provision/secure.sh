#!/bin/sh
# Closes what a server on the internet does not need open.
set -eu
echo "phase: secure"

# The files of a server that is hardened: keys alone, security updates by themselves, who guesses is shut
# out, and the firewall's rules, which take effect when the machine boots. ufw asks iptables for its
# version, which the newer kind does not tell where it finds no netfilter: in a chroot under qemu-user.
for name in iptables ip6tables; do
    update-alternatives --quiet --set "$name" "/usr/sbin/$name-legacy"
done
microblog harden --bake
for name in iptables ip6tables; do
    update-alternatives --quiet --auto "$name"
done

# Mail from the machine itself alone, under the name that the machine has when it
# sends. What the installation took for its name goes.
if [ -e /etc/postfix/main.cf ]; then
    # shellcheck disable=SC2016 # postfix expands these
    postconf -e 'inet_interfaces = loopback-only' 'myorigin = $myhostname' \
        'mydestination = $myhostname, localhost.$mydomain, localhost' 'smtpd_tls_security_level = none'
    postconf -X myhostname smtpd_tls_cert_file smtpd_tls_key_file
    rm -f /etc/mailname
fi
