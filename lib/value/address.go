package value

import (
	"errors"
	"path"
	"strings"
)

// ParseInet reads the address of an inet server: PORT, HOST:PORT, :PORT or
// *:PORT. Host is lower case, "" for every address.
func ParseInet(s string) (host string, port int, err error) {
	number := s
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, number = Lower(s[:i]), s[i+1:]
	}
	if host == "*" {
		host = ""
	}
	n, perr := ParseInt(number)
	if perr != nil || n < 1 || n > 65535 {
		hint := ""
		switch Lower(number) {
		case "http":
			hint = "service names are not known; write 80"
		case "https":
			hint = "service names are not known; write 443"
		}
		return "", 0, newError(BadPort, s, hint)
	}
	return host, int(n), nil
}

// SocketAddr is the listening socket of a FastCGI program.
type SocketAddr struct {
	// Path is set for a Unix socket: absolute and folded.
	Path string
	// Host and Port are set for a TCP socket.
	Host string
	Port int
}

// Unix reports whether a is a Unix socket.
func (a SocketAddr) Unix() bool { return a.Path != "" }

// String writes a as ParseSocket reads it.
func (a SocketAddr) String() string {
	if a.Unix() {
		return "unix://" + a.Path
	}
	return "tcp://" + a.Host + ":" + FormatInt(int64(a.Port))
}

var errSocketPort = errors.New("the port must be from 1 to 65535")

// ParseSocket reads tcp://HOST:PORT or unix:///ABSOLUTE/PATH.
func ParseSocket(s string) (SocketAddr, error) {
	if p, ok := strings.CutPrefix(s, "unix://"); ok {
		if !strings.HasPrefix(p, "/") {
			return SocketAddr{}, newError(BadSocket, s, "the path of a Unix socket must be absolute, with three slashes: unix:///run/x.sock")
		}
		return SocketAddr{Path: CleanPath(p)}, nil
	}
	rest, ok := strings.CutPrefix(s, "tcp://")
	if !ok {
		hint := ""
		if strings.HasPrefix(s, "/") {
			hint = "write unix://" + s
		}
		return SocketAddr{}, newError(BadSocket, s, hint)
	}
	// One line end after the number is let pass.
	rest = strings.TrimSuffix(rest, "\n")
	host, number, ok := strings.Cut(rest, ":")
	if !ok || host == "" || strings.ContainsFunc(host, IsSpace) {
		return SocketAddr{}, newError(BadSocket, s, "")
	}
	digits, ok := foldDigits(number)
	if !ok || digits == "" || strings.Trim(digits, "0123456789") != "" {
		return SocketAddr{}, newError(BadSocket, s, "")
	}
	n, err := ParseInt(digits)
	if err != nil || n < 1 || n > 65535 {
		return SocketAddr{}, &Error{Code: BadPort, Value: s, Err: errSocketPort}
	}
	return SocketAddr{Host: Lower(host), Port: int(n)}, nil
}

// CleanPath folds "." and ".." and repeated slashes, as [path.Clean] does,
// but keeps exactly two slashes at the start.
func CleanPath(p string) string {
	clean := path.Clean(p)
	if strings.HasPrefix(p, "//") && !strings.HasPrefix(p, "///") {
		return "/" + clean
	}
	return clean
}
