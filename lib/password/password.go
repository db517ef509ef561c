// Package password reads, makes and checks the forms in which passwords are
// kept: as they are, {SHA}, {BCRYPT} and {ARGON2ID}; and files of users.
package password

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
)

// Secret is a password in one of its forms. Check takes no longer for one wrong
// password than for another.
type Secret struct {
	form form
	// digest is of what is compared: the password, or its SHA-1 in hex.
	digest [sha256.Size]byte
	// text is a bcrypt hash as it is written.
	text   string
	argon  argonParams
	salt   []byte
	hashed []byte
}

type form uint8

const (
	plain form = iota
	shaHex
	shaBase64
	bcrypted
	argoned
)

// The words that mark a form in a configuration.
const (
	markSHA    = "{SHA}"
	markBcrypt = "{BCRYPT}"
	markArgon  = "{ARGON2ID}"
)

type argonParams struct {
	time, memory uint32 // memory in KiB
	threads      uint8
}

// Bounds of what checking one password may cost.
const (
	maxBcryptCost  = 17        // about 10 s
	maxArgonMemory = 256 << 10 // KiB
	maxArgonTime   = 64
	maxArgonWork   = 4 << 20 // KiB passed over
)

// Parse reads a password as password= has it. A text without a mark is the
// password itself.
func Parse(text string) (*Secret, error) {
	if hash, ok := strings.CutPrefix(text, markBcrypt); ok {
		return parseBcrypt(hash)
	}
	if hash, ok := strings.CutPrefix(text, markArgon); ok {
		return parseArgon(hash)
	}
	if hash, ok := strings.CutPrefix(text, markSHA); ok {
		// As in Supervisor, text that no password can have is no error.
		return &Secret{form: shaHex, digest: sha256.Sum256([]byte(hash))}, nil
	}
	return &Secret{form: plain, digest: sha256.Sum256([]byte(text))}, nil
}

// ParseHash reads a password as a file of users has it, where it is never plain:
// in a form with a mark, or as htpasswd writes bcrypt and SHA-1.
func ParseHash(text string) (*Secret, error) {
	if hash, ok := strings.CutPrefix(text, markSHA); ok {
		if sum, err := base64.StdEncoding.DecodeString(hash); err == nil && len(sum) == sha1.Size {
			return &Secret{form: shaBase64, digest: sha256.Sum256([]byte(hash))}, nil
		}
		if sum, err := hex.DecodeString(hash); err == nil && len(sum) == sha1.Size && strings.ToLower(hash) == hash {
			return Parse(text)
		}
		return nil, errors.New("what follows {SHA} is no SHA-1, in base64 or lower-case hex")
	}
	switch {
	case strings.HasPrefix(text, markBcrypt), strings.HasPrefix(text, markArgon):
		return Parse(text)
	case strings.HasPrefix(text, "$2"):
		return parseBcrypt(text)
	case strings.HasPrefix(text, "$argon2id$"):
		return parseArgon(text)
	case strings.HasPrefix(text, "$apr1$"), strings.HasPrefix(text, "$1$"):
		return nil, errors.New("a hash with MD5 is not accepted; make it anew with htpasswd -B")
	case text == "":
		return nil, errors.New("there is no hash")
	}
	return nil, errors.New("it is no hash of a known form: bcrypt as htpasswd -B writes it, {BCRYPT}, {ARGON2ID} or {SHA}")
}

func parseBcrypt(hash string) (*Secret, error) {
	// The library looks at cost and version only.
	const salted = len("$2y$10$") + 22 + 31
	cost, err := bcrypt.Cost([]byte(hash))
	switch {
	case err != nil || len(hash) != salted || strings.Trim(hash[7:], bcryptLetters) != "":
		return nil, errors.New("it is no bcrypt hash; one begins with $2y$ and has 60 characters")
	case cost > maxBcryptCost:
		return nil, fmt.Errorf("a bcrypt cost of %d is more than %d", cost, maxBcryptCost)
	}
	return &Secret{form: bcrypted, text: hash}, nil
}

const bcryptLetters = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

var errArgon = errors.New("it is no Argon2id hash; one looks like $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH")

func parseArgon(hash string) (*Secret, error) {
	f := strings.Split(hash, "$")
	if len(f) != 6 || f[0] != "" || f[1] != "argon2id" || f[2] != "v="+strconv.Itoa(argon2.Version) {
		return nil, errArgon
	}
	var p argonParams
	numbers := strings.Split(f[3], ",")
	if len(numbers) != 3 {
		return nil, errArgon
	}
	for i, name := range []string{"m=", "t=", "p="} {
		text, ok := strings.CutPrefix(numbers[i], name)
		n, err := strconv.ParseUint(text, 10, 31)
		if !ok || err != nil || n == 0 {
			return nil, errArgon
		}
		switch {
		case i == 0:
			p.memory = uint32(n)
		case i == 1:
			p.time = uint32(n)
		case n > 255:
			return nil, errArgon
		default:
			p.threads = uint8(n)
		}
	}
	if p.memory > maxArgonMemory || p.time > maxArgonTime || uint64(p.memory)*uint64(p.time) > maxArgonWork {
		return nil, fmt.Errorf("the Argon2id parameters m=%d,t=%d cost too much; m may be %d, t %d, and their product %d",
			p.memory, p.time, maxArgonMemory, maxArgonTime, maxArgonWork)
	}
	salt, err := base64.RawStdEncoding.DecodeString(f[4])
	sum, err2 := base64.RawStdEncoding.DecodeString(f[5])
	if err != nil || err2 != nil || len(salt) < 8 || len(salt) > 64 || len(sum) < 16 || len(sum) > 64 {
		return nil, errArgon
	}
	return &Secret{form: argoned, argon: p, salt: salt, hashed: sum}, nil
}

// Work is about how many microseconds Check takes on purpose; 0 if it is quick.
func (s *Secret) Work() int64 {
	switch s.form {
	case bcrypted:
		const doubling = 50 // of the work, as often as the cost says
		cost, _ := bcrypt.Cost([]byte(s.text))
		return doubling << cost
	case argoned:
		return int64(s.argon.memory) * int64(s.argon.time)
	}
	return 0
}

// Slow tells whether Check takes long on purpose.
func (s *Secret) Slow() bool { return s.Work() > 0 }

// Check tells whether the password is right.
func (s *Secret) Check(password []byte) bool {
	switch s.form {
	case bcrypted:
		return bcrypt.CompareHashAndPassword([]byte(s.text), password) == nil
	case argoned:
		sum := argon2.IDKey(password, s.salt, s.argon.time, s.argon.memory, s.argon.threads, uint32(len(s.hashed)))
		return subtle.ConstantTimeCompare(sum, s.hashed) == 1
	case shaHex:
		sum := sha1.Sum(password)
		password = hex.AppendEncode(nil, sum[:])
	case shaBase64:
		sum := sha1.Sum(password)
		password = base64.StdEncoding.AppendEncode(nil, sum[:])
	}
	digest := sha256.Sum256(password)
	return subtle.ConstantTimeCompare(digest[:], s.digest[:]) == 1
}

// Schemes are the forms that Make makes, the best one first.
var Schemes = []string{"argon2id", "bcrypt", "sha"}

// bcryptCost is that of new hashes: about a quarter of a second.
var bcryptCost = 12

// MaxBcrypt is the longest password that bcrypt takes, in bytes.
const MaxBcrypt = 72

// Make hashes a password, and returns it as password= and a file of users take
// it.
func Make(scheme string, password []byte) (string, error) {
	switch scheme {
	case "bcrypt":
		if len(password) > MaxBcrypt {
			return "", fmt.Errorf("bcrypt takes %d bytes of a password at most, and this one has %d; use argon2id", MaxBcrypt, len(password))
		}
		hash, err := bcrypt.GenerateFromPassword(password, bcryptCost)
		if err != nil {
			return "", err
		}
		// The letter that htpasswd writes; the hash is the same.
		return markBcrypt + "$2y" + string(hash[3:]), nil
	case "argon2id":
		salt := make([]byte, 16)
		rand.Read(salt)
		p := argonParams{time: 2, memory: 19 << 10, threads: 1}
		sum := argon2.IDKey(password, salt, p.time, p.memory, p.threads, 32)
		b64 := base64.RawStdEncoding
		return fmt.Sprintf("%s$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", markArgon, argon2.Version, p.memory, p.time, p.threads,
			b64.EncodeToString(salt), b64.EncodeToString(sum)), nil
	case "sha":
		sum := sha1.Sum(password)
		return markSHA + hex.EncodeToString(sum[:]), nil
	}
	return "", fmt.Errorf("there is no scheme %q", scheme)
}
