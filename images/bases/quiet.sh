#!/bin/sh
# Makes a root directory quick to fill with packages of another architecture: run by mmdebstrap as
# an extract hook, with the root directory as its argument. What software that plays another
# processor is slow at is done by this machine's own programs, or once, at the end. The customize
# hook undoes all of this: every diversion's new name ends with .bake.
set -eu
root=$1

# Puts standard input in the place of a program.
divert() {
    chroot "$root" dpkg-divert --quiet --local --rename --divert "$1.bake" --add "$1"
    cat > "$root$1"
    chmod 755 "$root$1"
}

# What is half done is thrown away, and no service starts.
echo force-unsafe-io > "$root/etc/dpkg/dpkg.cfg.d/bake"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

# Maintainer scripts start thousands of small programs, and packages are decompressed: this machine's
# own programs do that, with their libraries where another architecture has none. The kernel runs
# both kinds.
if [ "$(chroot "$root" dpkg --print-architecture)" != "$(dpkg --print-architecture)" ]; then
    mkdir "$root/usr/lib64"
    ln -s usr/lib64 "$root/lib64"
    for name in dash dpkg-deb sed grep find xargs tar gzip zstd cpio \
        basename cat chmod chown cp cut dirname head id ln ls mkdir mktemp mv readlink rm rmdir sort \
        stat tail touch tr uniq wc; do
        program=/usr/bin/$name
        [ -x "$program" ] || continue
        for library in $(ldd "$program" | grep -o '/[^ ]*'); do
            mkdir -p "$root$(dirname "$library")"
            cp -L "$library" "$root$library"
        done
        # shellcheck disable=SC2094 # one is below the root directory
        divert "$program" < "$program"
    done
fi

# The initramfs and the list of certificates are made once, not by each package that has a part in
# them; byte code is compiled when all of Python is there.
for name in update-initramfs update-ca-certificates; do
    divert "/usr/sbin/$name" <<-'END'
	#!/bin/sh
	END
done
divert /usr/bin/py3compile <<-'END'
	#!/bin/sh
	echo "$2" >> /var/lib/py3compile.bake
END
