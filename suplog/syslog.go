package main

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// syslogger sends lines to the system's logger. Where there is none they
// vanish: a program must not wait for it.
type syslogger struct {
	tag, prefix string
	buf         []byte
}

// syslogSocket is where the system's logger listens; tests use another one.
var syslogSocket = "/dev/log"

// maxSyslogLine bounds a message; what is longer is cut.
const maxSyslogLine = 8 << 10

// facilityUser and severityInfo make up the priority of each message.
const priority = 1<<3 | 6

// send sends each line of p; one that has not ended yet is sent as it is.
func (s *syslogger) send(p []byte, now time.Time) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if unix.Connect(fd, &unix.SockaddrUnix{Name: syslogSocket}) != nil {
		return
	}
	for len(p) > 0 {
		line, rest, _ := bytes.Cut(p, []byte{'\n'})
		p = rest
		_ = unix.Send(fd, s.message(line, now), unix.MSG_NOSIGNAL)
	}
}

// message is a line in the form that the C library's syslog has.
func (s *syslogger) message(line []byte, now time.Time) []byte {
	b := append(s.buf[:0], '<')
	b = strconv.AppendInt(b, priority, 10)
	b = append(b, '>')
	b = now.AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	b = append(append(b, s.tag...), ": "...)
	b = append(append(b, s.prefix...), line[:min(len(line), maxSyslogLine)]...)
	s.buf = b
	return b
}
