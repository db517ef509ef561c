package password

import (
	"strings"
	"testing"
)

// Hashes that others have made, of "thepassword".
const (
	htpasswdBcrypt = "$2y$05$abcdefghijklmnopqrstuuJohtMp2EdYCuLXcN2hacxgW4wPMiP3m"
	shaOfOthers    = "{SHA}82ab876d1387bfafe46cc1c8a2ef074eae50cb1d"
)

func TestSecrets(t *testing.T) {
	defer func(cost int) { bcryptCost = cost }(bcryptCost)
	bcryptCost = 4
	for _, scheme := range Schemes {
		text, err := Make(scheme, []byte("thepassword"))
		if err != nil {
			t.Fatal(err)
		}
		if scheme == "sha" && text != shaOfOthers {
			t.Error(text)
		}
		if strings.ContainsAny(text, "%; \"'#\n") {
			t.Errorf("%s has characters that mean something in a configuration", text)
		}
		for _, parse := range []func(string) (*Secret, error){Parse, ParseHash} {
			s, err := parse(text)
			if err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			if !s.Check([]byte("thepassword")) || s.Check([]byte("thepasswor")) || s.Check(nil) || s.Check([]byte(text)) {
				t.Errorf("%s takes the wrong passwords", text)
			}
			if s.Slow() != (scheme != "sha") {
				t.Errorf("%s: %v", scheme, s.Slow())
			}
		}
		if again, _ := Make(scheme, []byte("thepassword")); (again == text) != (scheme == "sha") {
			t.Errorf("%s: salt", scheme)
		}
	}
	if s, err := Parse("pa:ss {SHA}"); err != nil || !s.Check([]byte("pa:ss {SHA}")) || s.Check([]byte("pa:ss")) {
		t.Error("plain", err)
	}
	if _, err := Make("bcrypt", make([]byte, 73)); err == nil {
		t.Error("bcrypt would cut the password off")
	}
}

// What htpasswd and others write is understood.
func TestForeignHashes(t *testing.T) {
	if _, err := ParseHash("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$W6/8LcMLPqeB9qYDRfYlk1Tv7DkeG1Y+6FkBqQ1T3bA"); err != nil {
		t.Error(err)
	}
	s, err := ParseHash("{SHA}gquHbROHv6/kbMHIou8HTq5Qyx0=")
	if err != nil || !s.Check([]byte("thepassword")) || s.Check([]byte("x")) {
		t.Error("{SHA} of htpasswd -s", err)
	}
	s, err = ParseHash(htpasswdBcrypt)
	if err != nil || !s.Check([]byte("thepassword")) || s.Check([]byte("x")) {
		t.Error("of crypt(3)", err)
	}
}

func TestBadHashes(t *testing.T) {
	for text, want := range map[string]string{
		"":            "no hash",
		"thepassword": "known form",
		"$apr1$x$y":   "htpasswd -B",
		"{SHA}":       "SHA-1",
		"{SHA}82AB876D1387BFAFE46CC1C8A2EF074EAE50CB1D": "SHA-1",
		"{SHA}thepassword":                "SHA-1",
		"$2y$05$short":                    "bcrypt",
		"{BCRYPT}":                        "bcrypt",
		"{BCRYPT}" + htpasswdBcrypt + "x": "bcrypt",
		strings.Replace(htpasswdBcrypt, "05", "31", 1): "more than",
		strings.Replace(htpasswdBcrypt, "ab", "a:", 1): "bcrypt",
		"{ARGON2ID}": "Argon2id",
		"$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ":                                                     "Argon2id",
		"$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$W6/8LcMLPqeB9qYDRfYlk1Tv7DkeG1Y+6FkBqQ1T3bA":         "Argon2id",
		"$argon2id$v=19$m=64,t=0,p=1$c29tZXNhbHQ$W6/8LcMLPqeB9qYDRfYlk1Tv7DkeG1Y+6FkBqQ1T3bA":         "Argon2id",
		"$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$W6/8LcMLPqeB9qYDRfYlk1Tv7DkeG1Y+6FkBqQ1T3bA": "Argon2id",
		"$argon2id$v=19$m=2147483647,t=1,p=1$c29tZXNhbHQ$W6/8LcMLPqeB9qYDRfYlk1Tv7DkeG1Y+6FkBqQ1T3bA": "too much",
		"$argon2id$v=19$m=262144,t=64,p=1$c29tZXNhbHQ$W6/8LcMLPqeB9qYDRfYlk1Tv7DkeG1Y+6FkBqQ1T3bA":    "too much",
	} {
		if _, err := ParseHash(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestParseUsers(t *testing.T) {
	users, err := ParseUsers("# made by htpasswd\n\njoe:" + htpasswdBcrypt + "\r\nann:" + shaOfOthers + "\nno newline:{SHA}gquHbROHv6/kbMHIou8HTq5Qyx0=")
	if err != nil || len(users) != 3 || users[0].Name != "joe" || users[1].Line != 4 || users[2].Name != "no newline" {
		t.Errorf("%+v %v", users, err)
	}
	for text, want := range map[string]string{
		"joe\n":             "line 1: there is no colon",
		"\n:" + shaOfOthers: "line 2: there is no name",
		"a:" + shaOfOthers + "\na:" + shaOfOthers: `line 2: the user "a" has been given in line 1`,
		"a:secret":              `line 1: user "a": it is no hash`,
		"a\x1bb:" + shaOfOthers: "not printable",
	} {
		if _, err := ParseUsers(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells what may be a password", text)
		}
	}
}

func FuzzParseUsers(f *testing.F) {
	f.Add("joe:" + htpasswdBcrypt + "\nann:" + shaOfOthers)
	f.Add("x:$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$W6/8LcMLPqeB9qYDRfYlk1Tv7DkeG1Y+6FkBqQ1T3bA")
	f.Fuzz(func(t *testing.T, text string) {
		users, err := ParseUsers(text)
		if err != nil {
			return
		}
		for _, u := range users {
			if u.Name == "" || u.Secret == nil || strings.ContainsAny(u.Name, ":\n") {
				t.Errorf("%q: %+v", text, u)
			}
		}
	})
}
