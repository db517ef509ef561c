package server

import "bytes"

// callHead is what the call loop needs of the header of a request.
type callHead struct {
	size   int // of the header, with the blank line
	length int // Content-Length
	http10 bool
	close  bool
	auth   []byte
	host   []byte
	note   []byte
}

// verdict says what is to be done with the bytes at hand.
type verdict uint8

const (
	incomplete verdict = iota // read more
	plain                     // a call in plain form
	other                     // something for net/http
)

// parseHead reads the header at the beginning of b. It takes for plain only
// what nobody can read in two ways: one header more than we know how to weigh,
// or one odd byte, and net/http has to do it.
func parseHead(b []byte) (h callHead, v verdict) {
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		if len(b) >= maxHeader || bytes.Contains(b, []byte("\n\n")) {
			return h, other
		}
		return h, incomplete
	}
	h.size = end + 4
	h.length = -1
	rest, ok := bytes.CutPrefix(b[:end+2], []byte("POST /RPC2"))
	if !ok {
		return h, other
	}
	i := bytes.IndexByte(rest, '\n')
	if i < 1 || rest[i-1] != '\r' {
		return h, other
	}
	switch string(rest[:i-1]) {
	case " HTTP/1.1":
	case " HTTP/1.0":
		h.http10, h.close = true, true
	default:
		return h, other
	}
	for rest = rest[i+1:]; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		if i < 1 || rest[i-1] != '\r' || !h.field(rest[:i-1]) {
			return h, other
		}
		rest = rest[i+1:]
	}
	if h.length < 0 {
		return h, other
	}
	return h, plain
}

// field takes one header line; false if it needs thought.
func (h *callHead) field(line []byte) bool {
	colon := bytes.IndexByte(line, ':')
	if colon < 1 {
		return false
	}
	name, value := line[:colon], line[colon+1:]
	for _, c := range name {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c >= '0' && c <= '9') {
			return false
		}
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	value = bytes.Trim(value, " \t")
	switch len(name) {
	case len("host"):
		if is(name, "host") {
			if h.host != nil || len(value) == 0 {
				return false
			}
			h.host = value
		}
	case len("content-length"):
		if is(name, "content-length") {
			n, ok := number(value)
			if !ok || h.length >= 0 {
				return false
			}
			h.length = n
		}
		return !is(name, "sec-fetch-site") && !is(name, "sec-fetch-mode") && !is(name, "sec-fetch-dest")
	case len("connection"): // and user-agent, x-sup-note
		if is(name, "user-agent") {
			// Whether a browser may call, net/http's side decides.
			return !bytes.HasPrefix(value, []byte(browserAgent))
		}
		if is(name, "x-sup-note") {
			h.note = value
		}
		if is(name, "connection") {
			switch {
			case is(value, "close"):
				h.close = true
			case is(value, "keep-alive"):
				h.close = false
			default:
				return false
			}
		}
	case len("authorization"):
		if is(name, "authorization") {
			if h.auth != nil || len(value) == 0 {
				return false
			}
			h.auth = value
		}
	case len("origin"): // and expect
		return !is(name, "origin") && !is(name, "expect")
	case len("referer"): // and upgrade, trailer
		return !is(name, "referer") && !is(name, "upgrade") && !is(name, "trailer")
	case len("transfer-encoding"):
		return !is(name, "transfer-encoding")
	}
	return true
}

// is compares without regard to case; lower is in lower case.
func is(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

func number(b []byte) (n int, ok bool) {
	if len(b) == 0 || len(b) > 9 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int(c-'0')
	}
	return n, true
}
