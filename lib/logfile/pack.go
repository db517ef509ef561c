package logfile

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"sup/lib/safepath"
)

// A backup is packed into a file of a name that cannot be guessed, which gets the
// backup's owner (in a user's directory it is that user's) and mode by its
// descriptor and, once it is complete, the backup's name with ".gz". Only then the
// backup is removed. Whoever is killed meanwhile leaves the backup, and perhaps such
// a file, which nobody holds a lock of any more: the next one to pack removes it, and
// packs the backup.

// packing is in the names of files that are not complete, behind the name that
// they are to get.
const packing = ".packing"

const (
	// mostPacked bounds what is packed where the log has no limit of its own.
	mostPacked = 64 << 30
	// packSlack is by how much a backup may be longer than the log's limit: a
	// rotation that failed lets it grow.
	packSlack = 256 << 20
)

// packable is the size up to which a backup is packed. A larger one is none that
// we have made, and could keep a processor busy for hours.
func packable(o *Options) int64 {
	if o.MaxBytes <= 0 {
		return mostPacked
	}
	return min(mostPacked, 4*min(o.MaxBytes, mostPacked)+packSlack)
}

var errTooLarge = errors.New("larger than a backup would be")

// packAll packs every backup that is not packed.
func packAll(dir *safepath.Dir, log string, maxSize int64) {
	names, err := dir.Match(func(name string) bool {
		target, _, _ := strings.Cut(name, packing+".")
		_, ours := dateOf(target, log)
		return ours
	})
	if err != nil {
		return
	}
	for _, name := range names {
		target, _, unfinished := strings.Cut(name, packing+".")
		switch packed := strings.HasSuffix(target, compressedExt); {
		case unfinished && packed:
			removeUnfinished(dir, name)
		case !unfinished && !packed:
			_ = pack(dir, name, maxSize)
		}
	}
}

// removeUnfinished removes what somebody who was killed has left.
func removeUnfinished(dir *safepath.Dir, name string) {
	fd, err := dir.Open(name, unix.O_RDONLY, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) == nil {
		_ = dir.Remove(name)
	}
}

// pack replaces a backup by a compressed one.
func pack(dir *safepath.Dir, name string, maxSize int64) error {
	target := name + compressedExt
	// One that is complete may be there, if somebody was killed before the
	// backup was removed. What is none of ours stays.
	if st, err := dir.Lstat(target); err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		return unix.EEXIST
	}
	from, err := dir.OpenFile(name, unix.O_RDONLY, 0)
	if err != nil {
		return err
	}
	defer from.Close()
	var st unix.Stat_t
	switch err := unix.Fstat(int(from.Fd()), &st); {
	case err != nil:
		return err
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		return ErrNoFile
	case st.Size > maxSize:
		return errTooLarge
	case dir.Shared() && dir.Sticky() && !isOurs(dir, &st):
		return unix.EPERM // it could not be removed then
	}
	temp := safepath.Temp(target + packing)
	to, err := dir.OpenFile(temp, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	err = unix.Flock(int(to.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		err = packInto(to, io.LimitReader(from, st.Size))
	}
	if err == nil {
		err = bequeath(dir, to, &st)
	}
	if err == nil {
		err = dir.Rename(temp, target)
	}
	if err != nil {
		_ = dir.Remove(temp)
		return err
	}
	return removeSame(dir, name, &st)
}

func isOurs(dir *safepath.Dir, st *unix.Stat_t) bool {
	uid, _ := dir.Owner()
	return int(st.Uid) == uid || st.Uid == dir.Info().Uid
}

func packInto(to *os.File, from io.Reader) error {
	z := gzip.NewWriter(to)
	if _, err := io.Copy(z, from); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	// The backup is removed after this.
	return to.Sync()
}

// bequeath gives a file the owner and the mode of another one, as far as whoever
// acts in the directory may: a user can have the file open, and anybody's file under
// the name of a backup, and must not get one that belongs to somebody else.
func bequeath(dir *safepath.Dir, to *os.File, st *unix.Stat_t) error {
	fd := int(to.Fd())
	if _, foreign := dir.Owner(); foreign {
		return unix.Fchmod(fd, st.Mode&0o777)
	}
	if unix.Fchown(fd, int(st.Uid), int(st.Gid)) != nil {
		_ = unix.Fchown(fd, -1, int(st.Gid))
	}
	return unix.Fchmod(fd, st.Mode&0o777)
}

// removeSame removes a file if the name is still its and nothing was written to it
// since: another writer of the same log may not have noticed the rotation yet. Then
// it stays, and is packed again the next time.
func removeSame(dir *safepath.Dir, name string, st *unix.Stat_t) error {
	now, err := dir.Lstat(name)
	if err == nil && identityOf(&now) == identityOf(st) && now.Size == st.Size {
		err = dir.Remove(name)
	}
	return err
}
