package safepath

import (
	"strconv"

	"golang.org/x/sys/unix"
)

// The system calls, tried again when a signal interrupts them.

func retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if err != unix.EINTR {
			return v, err
		}
	}
}

func openat(dir int, name string, flags int, mode uint32) (int, error) {
	return retry(func() (int, error) { return unix.Openat(dir, name, flags|unix.O_CLOEXEC, mode) })
}

func fstatat(dir int, name string, st *unix.Stat_t) error {
	return unix.Fstatat(dir, name, st, unix.AT_SYMLINK_NOFOLLOW)
}

func readlinkat(dir int, name string) (string, error) {
	for size := 256; ; size *= 4 {
		b := make([]byte, size)
		n, err := unix.Readlinkat(dir, name, b)
		if err != nil {
			return "", err
		}
		if n < size {
			return string(b[:n]), nil
		}
	}
}

// procPath is a path to what a descriptor of ours stands for.
func procPath(fd int) string { return "/proc/self/fd/" + strconv.Itoa(fd) }

func kind(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }
