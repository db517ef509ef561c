package state

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"
)

// MarkVar is the environment variable that every program carries: by it a
// process is found whose start could not be written down any more.
//
// A mark is instance:process:run:code. The name of the process may have colons.
// The code can only be made by those who have the key of the instance, so that
// nobody is taken for a program of ours by saying that he is one. A mark can be
// copied, by those who may read the environment of the program: another process
// with the same mark is of the program's own user, or was started by the program.
const MarkVar = "SUPD_RUN"

// Identity is what a line of daemons, which take over from each other, knows its
// programs by. It is made with the state directory.
type Identity struct {
	// Instance names the line. It is public.
	Instance string
	// key makes the codes of marks. It is in the state directory, in suplog's
	// memory and in ours, and never in an environment, a log or on a command line.
	key [32]byte
}

const (
	instanceLen = 32 // digits of 128 bits
	codeLen     = 32
)

// NewIdentity begins a line of daemons.
func NewIdentity() *Identity {
	var name [instanceLen / 2]byte
	id := new(Identity)
	_, _ = rand.Read(name[:]) // which does not fail
	_, _ = rand.Read(id.key[:])
	id.Instance = hex.EncodeToString(name[:])
	return id
}

// Secret is the whole of an identity as text, for those who keep it.
func (id *Identity) Secret() string {
	return id.Instance + "\n" + hex.EncodeToString(id.key[:]) + "\n"
}

// secretLen is the length of an identity as text.
const secretLen = instanceLen + 1 + 2*32 + 1

// ParseSecret reads what Secret gives.
func ParseSecret(text string) (*Identity, bool) {
	if len(text) != secretLen || text[instanceLen] != '\n' || text[secretLen-1] != '\n' {
		return nil, false
	}
	id := &Identity{Instance: text[:instanceLen]}
	key, err := hex.DecodeString(text[instanceLen+1 : secretLen-1])
	if err != nil || !isHex(id.Instance) {
		return nil, false
	}
	copy(id.key[:], key)
	return id, true
}

// Mark is the value of MarkVar for one run of a process.
func (id *Identity) Mark(process string, run int64) string {
	return id.Instance + ":" + process + ":" + strconv.FormatInt(run, 10) + ":" + id.code(process, run)
}

// code is the proof that a mark is of ours.
func (id *Identity) code(process string, run int64) string {
	h := hmac.New(sha256.New, id.key[:])
	// Of fixed lengths but for the name, so no two marks give the same bytes.
	h.Write([]byte(id.Instance))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(run)))
	h.Write([]byte(process))
	return hex.EncodeToString(h.Sum(nil)[:codeLen/2])
}

// Proves reports whether a mark was made with the key of this identity.
func (id *Identity) Proves(mark string) bool {
	m := ParseMark(mark)
	return m.Instance == id.Instance && m.code != "" && hmac.Equal([]byte(m.code), []byte(id.code(m.Process, m.Run)))
}

// Marked is what a mark says, be it true or not.
type Marked struct {
	Instance string
	Process  string
	Run      int64 // above 0 in what is a mark
	code     string
}

// Old reports whether it is a mark of a daemon that made them without codes. Such
// a mark proves nothing.
func (m Marked) Old() bool { return m.Run > 0 && m.code == "" }

// ParseMark takes a mark apart. The zero value is for what is none.
func ParseMark(mark string) (m Marked) {
	instance, rest, _ := strings.Cut(mark, ":")
	code := ""
	switch {
	case len(instance) == instanceLen && isHex(instance):
		// Without a code it is of a daemon of before that has followed one of ours.
		if at := strings.LastIndexByte(rest, ':'); at >= 0 && len(rest)-at-1 == codeLen && isHex(rest[at+1:]) {
			rest, code = rest[:at], rest[at+1:]
		}
	case instance == "":
		return m
	}
	at := strings.LastIndexByte(rest, ':')
	if at <= 0 {
		return m
	}
	run, err := strconv.ParseInt(rest[at+1:], 10, 64)
	if err != nil || run <= 0 || strconv.FormatInt(run, 10) != rest[at+1:] {
		return m
	}
	return Marked{Instance: instance, Process: rest[:at], Run: run, code: code}
}

// isHex reports whether all of a text are digits as we write them.
func isHex(text string) bool { return strings.Trim(text, "0123456789abcdef") == "" }

// OldInstance is the name that a line of daemons had when it was made from the
// path of the state directory.
func OldInstance(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:6])
}
