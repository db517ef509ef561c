package main

import (
	"bytes"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sup/lib/logwire"
)

// syslogger sends lines to the system's logger. Where there is none they
// vanish: a program must not wait for it.
type syslogger struct {
	priority    int
	tag, prefix string
	buf         []byte
}

func newSyslogger(s *logwire.Settings) *syslogger {
	facility := facilityUser
	if s.SyslogFacility > 0 {
		facility = s.SyslogFacility
	}
	return &syslogger{priority: facility<<3 | severityInfo, tag: s.SyslogTag, prefix: s.SyslogPrefix}
}

// syslogSocket is where the system's logger listens; tests use another one.
var syslogSocket = "/dev/log"

// maxSyslogLine bounds a message; what is longer is cut.
const maxSyslogLine = 8 << 10

// The facility, unless another one is wanted, and the severity of each message.
const (
	facilityUser = 1
	severityInfo = 6
)

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
	b = strconv.AppendInt(b, int64(s.priority), 10)
	b = append(b, '>')
	b = now.AppendFormat(b, time.Stamp)
	b = append(b, ' ')
	b = append(append(b, s.tag...), ": "...)
	b = append(append(b, s.prefix...), line[:min(len(line), maxSyslogLine)]...)
	s.buf = b
	return b
}
