#!/bin/sh
# Makes a root directory quick to fill with packages of another architecture: run by mmdebstrap as
# an extract hook, with the root directory as its argument. What software that plays another
# processor is slow at is done by this machine's own, or once, at the end (by the customize hook).
set -eu
root=$1

# Puts standard input in the place of a program, until the diversion is removed.
divert() {
    chroot "$root" dpkg-divert --quiet --local --rename --divert "$1.bake" --add "$1"
    cat > "$root$1"
    chmod 755 "$root$1"
}

# What is half done is thrown away.
echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/bake"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

# Packages are decompressed by this machine's dpkg-deb: the kernel runs programs of both kinds.
mkdir "$root/native.bake"
cp "$(command -v dpkg-deb)" "$root/native.bake/"
ldd "$(command -v dpkg-deb)" | grep -o '/[^ ]*' | xargs cp -Lt "$root/native.bake"
loader=$(basename "$(ls "$root"/native.bake/ld-linux*)")
divert /usr/bin/dpkg-deb <<-END
	#!/bin/sh
	exec "/native.bake/$loader" --library-path /native.bake /native.bake/dpkg-deb "\$@"
END

# The initramfs is made once, not by each package that has a part in it; byte code is compiled when
# all of Python is there.
divert /usr/sbin/update-initramfs <<-'END'
	#!/bin/sh
END
divert /usr/bin/py3compile <<-'END'
	#!/bin/sh
	echo "$2" >> /var/lib/py3compile.bake
END
