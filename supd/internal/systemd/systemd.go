// Package systemd speaks with the service manager that has started the daemon:
// it tells it how things stand (sd_notify), and takes over the sockets that it
// has opened (socket activation). Without such a manager it does nothing.
package systemd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// firstSocket is the descriptor of the first socket that is handed over.
const firstSocket = 3

// Notifier sends messages to the service manager.
type Notifier struct {
	fd   int
	addr unix.SockaddrUnix
}

// NewNotifier makes a Notifier for the manager that the environment names. It
// is nil if there is none.
func NewNotifier() (*Notifier, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return nil, nil
	}
	// A name that begins with @ is abstract; the unix package knows that.
	if path[0] != '/' && path[0] != '@' {
		return nil, fmt.Errorf("cannot notify the service manager: NOTIFY_SOCKET=%q is neither a path nor an abstract name", path)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot notify the service manager: %w", err)
	}
	// The manager may be slow, but not for ever.
	patience := unix.Timeval{Sec: 5}
	_ = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &patience)
	return &Notifier{fd: fd, addr: unix.SockaddrUnix{Name: path}}, nil
}

// Send sends assignments, one on a line, as "READY=1". It may wait a few
// seconds for a manager that is busy.
func (n *Notifier) Send(text string) error {
	for {
		err := unix.Sendto(n.fd, []byte(text), unix.MSG_NOSIGNAL, &n.addr)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Close closes the socket.
func (n *Notifier) Close() error { return unix.Close(n.fd) }

// Watchdog is the time within which the manager wants to hear from us again
// and again, 0 if it does not watch us.
func Watchdog() time.Duration {
	if pid := os.Getenv("WATCHDOG_PID"); pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	usec, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || usec <= 0 || usec > int64(time.Duration(1<<63-1)/time.Microsecond) {
		return 0
	}
	return time.Duration(usec) * time.Microsecond
}

// Sockets are the sockets that the manager has opened for us. They can be had
// once: what says so is removed from the environment.
func Sockets() []*os.File {
	pid, count := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		os.Unsetenv(name)
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 1 || pid != strconv.Itoa(os.Getpid()) {
		return nil
	}
	var files []*os.File
	for fd := firstSocket; fd < firstSocket+n; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil {
			break
		}
		unix.CloseOnExec(fd)
		files = append(files, os.NewFile(uintptr(fd), "systemd"))
	}
	return files
}

// Reloading is the message that announces a reload. It carries the time, by
// which the manager tells this one from another.
func Reloading() string {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return "RELOADING=1\nMONOTONIC_USEC=" + strconv.FormatInt(ts.Nano()/int64(time.Microsecond), 10)
}
