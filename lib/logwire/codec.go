package logwire

import (
	"encoding/binary"
	"errors"

	"golang.org/x/sys/unix"
)

// A message is a kind, a flag byte, the stream and the seq (little endian, 4
// bytes each), and then fields: a tag, and either a uvarint or a uvarint
// length with that many bytes, by the lowest bit of the tag. The tag Data,
// when present, is the last and takes the rest.
const (
	headerLen = 10
	flagMore  = 1
)

// Tags are even for numbers and odd for bytes. They are part of the protocol:
// new ones are added, none is ever given another meaning.
const (
	tagPID       = 2
	tagErrno     = 4
	tagCondition = 6
	tagN         = 8
	tagCount     = 10
	tagHeld      = 12
	tagText      = 1
	tagData      = 3

	tagName         = 33
	tagPath         = 35
	tagSyslogTag    = 37
	tagSyslogPrefix = 39
	tagPrefix       = 41
	tagMore         = 43
	tagFacility     = 60
	tagMode         = 34
	tagMaxBytes     = 36
	tagBackups      = 38 // plus one, so that -1 can be told
	tagStripANSI    = 40
	tagEvents       = 42
	tagCaptureMax   = 44
	tagSyslog       = 46
	tagOnFull       = 48
	tagTimestamp    = 50
	tagRotate       = 52
	tagDated        = 54
	tagCompress     = 56
	tagMaxAge       = 58
)

// ErrMalformed is returned for bytes that are no message.
var ErrMalformed = errors.New("malformed message")

// ErrNoDescriptors is returned for a message whose descriptors could not be
// taken, because this process may not have so many.
var ErrNoDescriptors = errors.New("no room for the descriptors of a message")

func appendNumber(b []byte, tag byte, v uint64) []byte {
	if v == 0 {
		return b
	}
	return binary.AppendUvarint(append(b, tag), v)
}

func appendBool(b []byte, tag byte, v bool) []byte {
	if !v {
		return b
	}
	return append(b, tag, 1)
}

func appendText(b []byte, tag byte, s string) []byte {
	if s == "" {
		return b
	}
	return append(binary.AppendUvarint(append(b, tag), uint64(len(s))), s...)
}

// Append appends the encoding of m to b. Descriptors are not part of it.
func Append(b []byte, m *Message) []byte {
	var flags byte
	if m.More {
		flags |= flagMore
	}
	b = append(b, byte(m.Kind), flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(m.Stream))
	b = binary.LittleEndian.AppendUint32(b, m.Seq)
	b = appendNumber(b, tagPID, uint64(m.PID))
	switch m.Kind {
	case Data, Comm:
		return append(append(b, tagData), m.Data...)
	case Open, Set, Serving:
		return appendSettings(b, &m.Settings)
	}
	b = appendNumber(b, tagErrno, uint64(m.Errno))
	b = appendNumber(b, tagCondition, uint64(m.Condition))
	b = appendNumber(b, tagN, m.N)
	b = appendNumber(b, tagCount, uint64(m.Count))
	b = appendNumber(b, tagHeld, uint64(m.Held))
	return appendText(b, tagText, m.Text)
}

func appendSettings(b []byte, s *Settings) []byte {
	b = appendText(b, tagName, s.Name)
	b = appendText(b, tagPath, s.Path)
	b = appendNumber(b, tagMode, uint64(s.Mode))
	b = appendNumber(b, tagMaxBytes, uint64(max(s.MaxBytes, 0)))
	b = appendNumber(b, tagBackups, uint64(max(s.Backups, -1)+1))
	b = appendBool(b, tagStripANSI, s.StripANSI)
	b = appendBool(b, tagEvents, s.Events)
	b = appendNumber(b, tagCaptureMax, uint64(max(s.CaptureMax, 0)))
	b = appendBool(b, tagSyslog, s.Syslog)
	b = appendText(b, tagSyslogTag, s.SyslogTag)
	b = appendText(b, tagSyslogPrefix, s.SyslogPrefix)
	b = appendNumber(b, tagFacility, uint64(max(s.SyslogFacility, 0)))
	b = appendText(b, tagMore, s.More)
	b = appendNumber(b, tagOnFull, uint64(s.OnFull))
	b = appendBool(b, tagTimestamp, s.Timestamp)
	b = appendText(b, tagPrefix, s.Prefix)
	b = appendNumber(b, tagRotate, uint64(s.Rotate))
	b = appendBool(b, tagDated, s.Dated)
	b = appendBool(b, tagCompress, s.Compress)
	return appendNumber(b, tagMaxAge, uint64(max(s.MaxAgeDays, 0)))
}

// Parse decodes b into m, whose Data then aliases b. The fields of m that b
// does not set are zero; m.FDs is left alone.
func Parse(b []byte, m *Message) error {
	*m = Message{FDs: m.FDs}
	if len(b) < headerLen || b[0] == 0 {
		return ErrMalformed
	}
	m.Kind = Kind(b[0])
	m.More = b[1]&flagMore != 0
	m.Stream = Stream(binary.LittleEndian.Uint32(b[2:]))
	m.Seq = binary.LittleEndian.Uint32(b[6:])
	switch m.Kind {
	case Open, Set, Serving:
		m.Settings.Backups = -1 // what an absent tag means
	}
	b = b[headerLen:]
	for len(b) > 0 {
		tag := b[0]
		b = b[1:]
		if tag == tagData {
			m.Data = b
			return nil
		}
		v, n := binary.Uvarint(b)
		if n <= 0 {
			return ErrMalformed
		}
		b = b[n:]
		if tag&1 == 0 {
			m.setNumber(tag, v)
			continue
		}
		if v > uint64(len(b)) {
			return ErrMalformed
		}
		m.setText(tag, b[:v])
		b = b[v:]
	}
	return nil
}

func (m *Message) setText(tag byte, v []byte) {
	s := &m.Settings
	switch tag {
	case tagText:
		m.Text = string(v)
	case tagName:
		s.Name = string(v)
	case tagPath:
		s.Path = string(v)
	case tagSyslogTag:
		s.SyslogTag = string(v)
	case tagSyslogPrefix:
		s.SyslogPrefix = string(v)
	case tagPrefix:
		s.Prefix = string(v)
	case tagMore:
		s.More = string(v)
	}
}

func (m *Message) setNumber(tag byte, v uint64) {
	s := &m.Settings
	size := int64(min(v, 1<<62))
	small := int(min(v, 1<<30))
	switch tag {
	case tagPID:
		m.PID = int64(v)
	case tagErrno:
		m.Errno = unix.Errno(v)
	case tagCondition:
		m.Condition = Condition(v)
	case tagN:
		m.N = v
	case tagCount:
		m.Count = uint32(v)
	case tagHeld:
		m.Held = uint32(v)
	case tagMode:
		s.Mode = uint32(v) & 0o7777
	case tagMaxBytes:
		s.MaxBytes = size
	case tagBackups:
		s.Backups = small - 1
	case tagStripANSI:
		s.StripANSI = v != 0
	case tagEvents:
		s.Events = v != 0
	case tagCaptureMax:
		s.CaptureMax = size
	case tagSyslog:
		s.Syslog = v != 0
	case tagFacility:
		s.SyslogFacility = small
	case tagOnFull:
		s.OnFull = OnFull(v)
	case tagTimestamp:
		s.Timestamp = v != 0
	case tagRotate:
		s.Rotate = Rotate(v)
	case tagDated:
		s.Dated = v != 0
	case tagCompress:
		s.Compress = v != 0
	case tagMaxAge:
		s.MaxAgeDays = small
	}
}
