package activity

import (
	"bytes"
	"log/syslog"
)

// Syslog is a Sink that sends each line, as it stands in the log, to the
// system's logger: facility user, priority info. Without a logger the lines
// vanish, as with Supervisor; the next line tries again.
type Syslog struct {
	tag string
	w   *syslog.Writer
}

// NewSyslog makes a Sink whose messages bear a tag.
func NewSyslog(tag string) *Syslog { return &Syslog{tag: tag} }

func (s *Syslog) Write(b []byte) (int, error) {
	if s.w == nil {
		w, err := syslog.New(syslog.LOG_USER|syslog.LOG_INFO, s.tag)
		if err != nil {
			return len(b), nil
		}
		s.w = w
	}
	for line := range bytes.Lines(b) {
		if _, err := s.w.Write(bytes.TrimSuffix(line, []byte{'\n'})); err != nil {
			s.Close()
			break
		}
	}
	return len(b), nil
}

// Reopen connects anew at the next line.
func (s *Syslog) Reopen() error { return s.Close() }

// Clear does nothing: what was sent is in other hands.
func (s *Syslog) Clear() error { return nil }

func (s *Syslog) Close() error {
	if s.w == nil {
		return nil
	}
	w := s.w
	s.w = nil
	return w.Close()
}
