package rpc

import (
	"bytes"
	"strconv"
	"strings"
)

// The answer of getAllProcessInfo is the one large document a client meets:
// 200 programs make 250 KB of tags. Reading it through encoding/xml and
// reflection takes longer than everything else that "status" does. This file
// reads it in one pass over the bytes. It knows the shape that Supervisor and
// supd write and nothing more; at the first surprise it gives up, and the
// general decoder reads the document from the start.

// scanProcessInfos reads an answer that is an array of process infos. It
// reports false if the document is not exactly of the expected shape.
func scanProcessInfos(doc []byte) ([]ProcessInfo, bool) {
	s := scanner{rest: doc}
	s.prolog()
	if !s.tags("methodResponse", "params", "param", "value", "array", "data") {
		return nil, false
	}
	var infos []ProcessInfo
	for s.open("value") {
		var info ProcessInfo
		if !s.processInfo(&info) || !s.close("value") {
			return nil, false
		}
		infos = append(infos, info)
	}
	for _, name := range []string{"data", "array", "value", "param", "params", "methodResponse"} {
		if !s.close(name) {
			return nil, false
		}
	}
	s.space()
	return infos, len(s.rest) == 0
}

// scanner walks over a document. After a method has returned false its
// position means nothing any more, except for open, which moves only on
// success.
type scanner struct {
	rest []byte
}

func (s *scanner) processInfo(info *ProcessInfo) bool {
	if !s.open("struct") {
		return false
	}
	for s.open("member") {
		if !s.open("name") {
			return false
		}
		name, ok := s.text("name")
		if !ok || !s.open("value") || !s.member(info, name) || !s.close("value") || !s.close("member") {
			return false
		}
	}
	return s.close("struct")
}

// member stores the value of one member; members of other names are checked
// for their shape and forgotten, as newer servers may send more.
func (s *scanner) member(info *ProcessInfo, name string) bool {
	if s.open("string") {
		value, ok := s.text("string")
		if !ok {
			return false
		}
		switch name {
		case "name":
			info.Name = value
		case "group":
			info.Group = value
		case "statename":
			info.StateName = value
		case "spawnerr":
			info.SpawnErr = value
		case "logfile":
			info.Logfile = value
		case "stdout_logfile":
			info.StdoutLogfile = value
		case "stderr_logfile":
			info.StderrLogfile = value
		case "description":
			info.Description = value
		case "start", "stop", "now", "state", "exitstatus", "pid":
			return false
		}
		return true
	}
	if !s.open("int") {
		return false
	}
	text, ok := s.text("int")
	if !ok {
		return false
	}
	value, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return false
	}
	switch name {
	case "start":
		info.Start = value
	case "stop":
		info.Stop = value
	case "now":
		info.Now = value
	case "state":
		info.State = int(value)
	case "exitstatus":
		info.ExitStatus = int(value)
	case "pid":
		info.PID = int(value)
	case "name", "group", "statename", "spawnerr", "logfile", "stdout_logfile", "stderr_logfile", "description":
		return false
	}
	return true
}

// prolog skips the XML declaration.
func (s *scanner) prolog() {
	s.space()
	if bytes.HasPrefix(s.rest, []byte("<?xml")) {
		if end := bytes.Index(s.rest, []byte("?>")); end >= 0 {
			s.rest = s.rest[end+2:]
		}
	}
}

func (s *scanner) space() {
	for len(s.rest) > 0 && (s.rest[0] == ' ' || s.rest[0] == '\n' || s.rest[0] == '\r' || s.rest[0] == '\t') {
		s.rest = s.rest[1:]
	}
}

// tags opens several elements, each directly inside the one before.
func (s *scanner) tags(names ...string) bool {
	for _, name := range names {
		if !s.open(name) {
			return false
		}
	}
	return true
}

// open moves over white space and a start tag without attributes.
func (s *scanner) open(name string) bool {
	s.space()
	r, n := s.rest, len(name)+2
	if len(r) < n || r[0] != '<' || r[n-1] != '>' || string(r[1:n-1]) != name {
		return false
	}
	s.rest = r[n:]
	return true
}

// close moves over white space and an end tag.
func (s *scanner) close(name string) bool {
	s.space()
	r, n := s.rest, len(name)+3
	if len(r) < n || r[0] != '<' || r[1] != '/' || r[n-1] != '>' || string(r[2:n-1]) != name {
		return false
	}
	s.rest = r[n:]
	return true
}

// text reads character data up to the end tag of name, and that tag.
func (s *scanner) text(name string) (string, bool) {
	end := bytes.IndexByte(s.rest, '<')
	if end < 0 {
		return "", false
	}
	raw := s.rest[:end]
	s.rest = s.rest[end:]
	if !s.close(name) {
		return "", false
	}
	for _, c := range raw {
		// White space other than a blank, references, control characters
		// and letters beyond ASCII are rare here, and each has its rules.
		if c < ' ' || c >= 0x7F || c == '&' {
			return slowText(raw)
		}
	}
	return string(raw), true
}

var references = strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&", "&quot;", `"`, "&apos;", "'")

// slowText resolves the five named references. Text that needs more than that
// is left to the general decoder.
func slowText(raw []byte) (string, bool) {
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c < ' ' && c != '\t' && c != '\n':
			return "", false
		case c == '&':
			semicolon := bytes.IndexByte(raw[i:], ';')
			if semicolon < 0 {
				return "", false
			}
			switch string(raw[i : i+semicolon+1]) {
			case "&lt;", "&gt;", "&amp;", "&quot;", "&apos;":
			default:
				return "", false
			}
		}
	}
	if !validText(raw) {
		return "", false
	}
	return references.Replace(string(raw)), true
}

// validText reports whether raw is UTF-8 of characters that XML allows.
func validText(raw []byte) bool { return replaceForbidden(raw) == nil }
