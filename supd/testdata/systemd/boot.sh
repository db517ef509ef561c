#!/bin/bash
# boot.sh DIR [TIMEOUT]: boots a real systemd in namespaces of its own, on an
# overlay of this machine's root file system, with the units in DIR/units, the
# tools in DIR/bin and the files in DIR/etc. It runs DIR/script there, whose
# output is in DIR/output; the exit status is 0 if the script's was.
#
# It needs root, util-linux, systemd, overlayfs and cgroup v2, and says which of
# these is missing with exit status 77. Nothing on this machine changes: all
# mounts are in a namespace that ends with the last process, and the processes
# end with the one that has been unshared.
set -u
W=$1
patience=${2:-120}

missing() {
	echo "$*"
	exit 77
}
[ "$(id -u)" = 0 ] || missing "only root can boot a systemd"
[ -x /lib/systemd/systemd ] || missing "/lib/systemd/systemd is not there (Debian's package systemd)"
command -v unshare >/dev/null || missing "unshare is not there (Debian's package util-linux)"
grep -qw overlay /proc/filesystems || missing "this kernel has no overlayfs"
groups=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
[ -n "$groups" ] || missing "no cgroup v2 is mounted"

group=$groups/supd-test-$$
mkdir "$group" 2>/dev/null || missing "cannot make a cgroup in $groups"
home=$(sed -n 's/^0:://p' /proc/self/cgroup)
trap 'echo $$ >"$groups$home/cgroup.procs"; find "$group" -depth -type d -exec rmdir {} \; 2>/dev/null' EXIT
echo $$ >"$group/cgroup.procs" || missing "cannot move into a cgroup"
unshare --pid --mount --uts --ipc --cgroup --fork --kill-child true || missing "cannot make namespaces"

mkdir -p "$W/up" "$W/root"
export W
# What runs in the namespaces as their first process, until systemd takes over.
inside='
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$W/up"
mkdir "$W/up/u" "$W/up/w"
mount -t overlay overlay -o "lowerdir=/,upperdir=$W/up/u,workdir=$W/up/w" "$W/root"
cd "$W/root"
mount -t proc proc proc
mount --rbind /sys sys
umount -l sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs -o mode=755 tmpfs dev
for d in null zero full random urandom tty; do
	touch dev/$d
	mount --bind /dev/$d dev/$d
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
mount -t tmpfs tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
# Nothing of this machine is to be started, and no generator is to look at it.
rm -rf etc/systemd/system usr/lib/systemd/system-generators lib/systemd/system-generators
mkdir -p etc/systemd/system usr/local/bin result
cp -r "$W"/units/. etc/systemd/system/
cp "$W"/bin/* usr/local/bin/
cp "$W"/etc/* etc/
cp "$W"/script usr/local/bin/supd-test-script
mount --bind "$W/result" result
mkdir -p old
pivot_root . old
umount -l old
exec env -i container=x PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin /lib/systemd/systemd --unit=test.target --show-status=false
'
mkdir -p "$W/result"
: >"$W/result/output"
# systemd ends with the status that the script has left (systemctl exit).
timeout --kill-after=5 "$patience" unshare --pid --mount --uts --ipc --cgroup --fork --kill-child bash -c "$inside" </dev/null >"$W/result/boot" 2>&1
status=$?
cat "$W/result/output"
if [ $status = 0 ] && ! grep -qx PASS "$W/result/output"; then
	status=1
fi
if [ $status != 0 ]; then
	echo "systemd ended with status $status; it said:"
	tail -20 "$W/result/boot"
fi
exit $status
