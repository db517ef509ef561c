package main

import (
	"crypto/tls"
	"os"
	"os/user"
	"slices"
	"strconv"
	"time"

	"sup/lib/access"
	"sup/lib/password"
	"sup/lib/pemfile"
	"sup/lib/plan"
	"sup/lib/safepath"
	"sup/lib/trust"
)

// roles looks at who may do what on a server.
func (l *linter) roles(s *plan.Server) {
	if len(s.Roles) == 0 {
		return
	}
	w := l.at(s.Section, "roles")
	admin := !s.Unix && s.HasAuth && s.Username != ""
	others := false // than root
	unused := make(map[string]bool)
	for _, g := range s.Roles {
		who := g.Subject
		admin = admin || g.Role == access.Admin
		others = others || who.Kind != access.User || who.Name != "root" && who.Name != "0"
		if who.Kind == access.Anyone && g.Role > access.Read && (s.Unix || s.AsksWho()) {
			l.warn("role-for-everybody", w, "name users or groups", "everybody who can connect has the role %s", g.Role)
		}
		if s.Unix && !l.offline && missing(who) {
			l.warn("unknown-subject", w, "create it, or write another name", "there is no %s %s on this machine", map[access.Kind]string{access.User: "user", access.Group: "group"}[who.Kind], who.Name)
		}
		for _, p := range g.Names {
			if !l.matches(p) {
				unused[p.String()] = true
			}
		}
	}
	for _, p := range sorted(unused) {
		l.warn("pattern-matches-nothing", w, "write GROUP:PROCESS, GROUP:* or NAME, as in supctl status", "there is no process %s", p)
	}
	if !admin {
		l.warn("no-admin", w, "add for example admin: root", "nobody has the role admin, so nobody can shut the daemon down or change it with supctl")
	}
	if s.Unix && others && s.Chmod&0o066 == 0 && !s.HasChown {
		l.warn("closed-socket", l.at(s.Section, "chmod"), "write chmod = 0666; roles decide then who may do what",
			"only the daemon's own user can connect to the socket, whatever roles others have")
	}
}

func sorted(set map[string]bool) []string {
	var list []string
	for s := range set {
		list = append(list, s)
	}
	slices.Sort(list)
	return list
}

// missing tells whether a user or group of this machine is not there.
func missing(s access.Subject) bool {
	if _, err := strconv.ParseUint(s.Name, 10, 32); err == nil {
		return false
	}
	var err error
	switch s.Kind {
	case access.User:
		_, err = user.Lookup(s.Name)
	case access.Group:
		_, err = user.LookupGroup(s.Name)
	}
	return err != nil
}

// matches tells whether a pattern means any process of the configuration.
func (l *linter) matches(p access.Pattern) bool {
	for _, g := range l.plan.Groups {
		for _, process := range g.Processes {
			if p.Match(g.Name, process.Name) {
				return true
			}
		}
	}
	return false
}

// guarded asks who else could change the files that say who a client is. Only root
// serves others' clients.
func (l *linter) guarded(s *plan.Server) {
	if os.Geteuid() != 0 {
		return
	}
	for _, f := range []struct{ key, path string }{
		{"users_file", s.UsersFile}, {"certificate", s.Certificate}, {"key", s.Key}, {"client_ca", s.ClientCA},
	} {
		if f.path == "" {
			continue
		}
		if writers, err := trust.Strangers(f.path); err == nil && len(writers) > 0 {
			l.warn("file-of-others", l.at(s.Section, f.key), "have it where only root can write", "%v, who can so let himself in", writers[0])
		}
	}
}

// secrets looks at the files of a server on TCP, and at what goes over the
// network.
func (l *linter) secrets(s *plan.Server) {
	if s.SendsPasswordsOpenly() {
		key := "password"
		if !s.HasAuth {
			key = "users_file"
		}
		l.fail("open-password", l.at(s.Section, key), "add certificate = …, or listen on 127.0.0.1 behind a proxy with TLS",
			"the password goes over the network as it is, for everybody on the way to read")
	}
	if l.offline {
		return
	}
	l.guarded(s)
	if s.UsersFile != "" {
		w := l.at(s.Section, "users_file")
		users, info, err := password.ReadUsers(s.UsersFile)
		switch {
		case err != nil:
			l.fail("bad-users-file", w, "see htpasswd(1), or make hashes with supconf hash", "%v", err)
		case info.Mode&0o004 != 0:
			l.warn("readable-secret", w, "chmod 640 "+s.UsersFile, "every user can read %s, and try passwords on its hashes", s.UsersFile)
		}
		if err == nil {
			l.listed(s, users)
		}
	}
	if !s.TLS() {
		return
	}
	w := l.at(s.Section, "certificate")
	pair, err := pemfile.Pair(s.Certificate, s.Key)
	if err != nil {
		l.fail("bad-certificate", w, "name files in PEM that belong together", "%v", err)
		return
	}
	l.validity(w, pair)
	if st, err := safepath.Stat(s.Key); err == nil && st.Mode&0o004 != 0 {
		key := "key"
		if s.Key == s.Certificate {
			key = "certificate"
		}
		l.warn("readable-secret", l.at(s.Section, key), "chmod 600 "+s.Key, "every user can read the key %s", s.Key)
	}
	if s.ClientCA != "" {
		if _, err := pemfile.Pool(s.ClientCA); err != nil {
			l.fail("bad-certificate", l.at(s.Section, "client_ca"), "name a file in PEM", "%v", err)
		}
	}
}

// listed looks for users that roles name and the file has not.
func (l *linter) listed(s *plan.Server, users []password.User) {
	for _, g := range s.Roles {
		who := g.Subject
		if who.Kind == access.User && !slices.ContainsFunc(users, func(u password.User) bool { return u.Name == who.Name }) {
			l.warn("unknown-subject", l.at(s.Section, "roles"), "add the user, or write another name", "there is no user %s in %s", who.Name, s.UsersFile)
		}
	}
}

// soon is how long before its end a certificate is spoken of.
const soon = 14 * 24 * time.Hour

func (l *linter) validity(w where, pair tls.Certificate) {
	c := pair.Leaf
	if c == nil {
		return
	}
	const day = "2006-01-02"
	switch now := time.Now(); {
	case now.After(c.NotAfter):
		l.fail("expired-certificate", w, "have it made anew; it is read when the file changes", "the certificate has ended on %s", c.NotAfter.Format(day))
	case now.Before(c.NotBefore):
		l.warn("early-certificate", w, "look at the clock", "the certificate begins on %s only", c.NotBefore.Format(day))
	case now.Add(soon).After(c.NotAfter):
		l.warn("expiring-certificate", w, "have it made anew; it is read when the file changes", "the certificate ends on %s", c.NotAfter.Format(day))
	}
}
