package config

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Client is what [supervisorctl] says.
type Client struct {
	// File is the file it was read from, "" if there is none.
	File string
	// ServerURL is http://HOST:PORT, https://HOST:PORT or unix://PATH, the
	// path absolute.
	ServerURL string
	// HasUsername and HasPassword tell whether these are given.
	Username, Password string
	// TLS is for servers at https://.
	TLS                      ClientTLS
	HasUsername, HasPassword bool
	Prompt                   string
	// HistoryFile is absolute, "" for none.
	HistoryFile string
	// User is the user that the daemon becomes, "" if the file does not say.
	User string
	// Warnings are about what does not keep the client from working.
	Warnings []*Problem
}

// ClientTLS says how a server at https:// is known, and how we are known to it.
// CA, Certificate and Key are absolute paths of files in PEM, "" if they are not
// given; ServerName is "" for the host of the URL.
type ClientTLS struct{ CA, Certificate, Key, ServerName string }

// ClientOptions say where to find the client's configuration.
type ClientOptions struct {
	// File is the configuration file (-c); "" searches for it, and does
	// without if there is none.
	File string
	// Program is how the client was called (argument 0).
	Program string
	// Environ is the environment that expressions refer to; nil is the
	// process's own.
	Environ []string
	// Dir is what relative paths are relative to; "" is the current
	// directory.
	Dir string
	// Obeyed says that the configuration is not only looked at: one that was
	// found, and not named, must not be others' to change if root obeys it.
	Obeyed bool
	// Offline leaves out the check of plug-ins.
	Offline bool
	// AnyEnv takes variables of the environment that are not set for right.
	AnyEnv bool
	// AnyPlugin lets [ctlplugin:x] sections name plug-ins, none of which are
	// built in, with a warning each; without it they are errors.
	AnyPlugin bool
}

// LoadClient reads the client's configuration: [supervisorctl] of the main
// file. Includes are not read. The error is the first problem, a *Problem.
func LoadClient(o ClientOptions) (*Client, error) {
	c, problems := CheckClient(o)
	for _, p := range problems {
		if p.Severity == SeverityError {
			return nil, p
		}
		c.Warnings = append(c.Warnings, p)
	}
	return c, nil
}

// CheckClient is LoadClient for a checker: it returns all problems.
func CheckClient(o ClientOptions) (*Client, []*Problem) {
	if o.Environ == nil {
		o.Environ = os.Environ()
	}
	env := Environ(o.Environ)
	m := NewMachine(env, o.Dir)
	file := o.File
	if file == "" {
		file = Search(SearchPaths(o.Program), m.Dir)
		if p := Obey(file, m.Dir); p != nil && o.Obeyed {
			return &Client{}, []*Problem{p}
		}
	}
	var doc *Document
	if file == "" {
		doc = newDocument()
	} else {
		doc = Read(Reading{File: file, Dir: m.Dir, Env: env, Wanted: clientSection})
	}
	problems := append([]*Problem(nil), doc.Problems...)
	dec := &Decoder{Doc: doc, Machine: m, Offline: o.Offline, AnyEnv: o.AnyEnv, Report: func(p *Problem) { problems = append(problems, p) }}
	s := doc.Section("supervisorctl")
	if s == nil && file != "" && len(problems) == 0 {
		problems = append(problems, &Problem{
			Code:    CodeNoSupervisorctl,
			File:    doc.File,
			Message: "there is no section [supervisorctl]",
			Hint:    "add a line [supervisorctl]; the client does not read included files",
		})
	}
	v := dec.Values(s, KindSupervisorctl, Names{Env: env, Here: doc.Here})
	c := &Client{File: doc.File}
	c.ServerURL = v.Text("serverurl").Text
	if path, ok := strings.CutPrefix(c.ServerURL, "unix://"); ok {
		c.ServerURL = "unix://" + m.Absolute(path)
	}
	c.Prompt = v.Text("prompt").Text
	user, password := v.Text("username"), v.Text("password")
	c.Username, c.HasUsername = user.Text, user.Set
	c.Password, c.HasPassword = password.Text, password.Set
	if history := v.Text("history_file"); history.Text != "" {
		c.HistoryFile = m.Absolute(history.Text)
	}
	if s := doc.Section("supervisord"); s != nil {
		quiet := &Decoder{Doc: doc, Machine: m, Offline: true, Report: func(*Problem) {}}
		c.User = quiet.Values(s, KindSupervisord, Names{Env: env, Here: doc.Here, Host: HostName()}).Text("user").Text
	}
	path := func(key string) string {
		if t := v.Text(key); t.Text != "" {
			return m.Absolute(t.Text)
		}
		return ""
	}
	c.TLS = ClientTLS{CA: path("ca"), Certificate: path("certificate"), Key: path("key"), ServerName: v.Text("server_name").Text}
	if v.Has("key") && !v.Has("certificate") {
		v.Fail("incomplete-tls", "key", v.Text("key"), "there is key without certificate", "add certificate = …")
	}
	dec.ctlPlugins(env, o.AnyPlugin)
	return c, problems
}

// clientSection reports whether a section is one that the client reads. The
// programs of a large file would take it longer than all else that it does.
func clientSection(name string) bool {
	k, ok := KindOf(name)
	return ok && (k == KindSupervisorctl || k == KindCtlPlugin || k == KindSupervisord)
}

// Trusts tells whether a daemon that runs as a user may have the credentials: it
// owns the file, or is whom the file says the daemon becomes.
func (c *Client) Trusts(uid int) bool {
	if c.File == "" {
		return false
	}
	var st unix.Stat_t
	if unix.Stat(c.File, &st) == nil && int(st.Uid) == uid {
		return true
	}
	if c.User == "" {
		return false
	}
	user, _, err := NewMachine(nil, "").User(c.User)
	return err == nil && user == uid
}

// ctlPlugins reads the sections of client plug-ins, none of which can be
// loaded.
func (d *Decoder) ctlPlugins(env map[string]string, any bool) {
	for _, s := range d.Doc.Sections {
		if k, ok := KindOf(s.Name); !ok || k != KindCtlPlugin {
			continue
		}
		v := d.Values(s, KindCtlPlugin, Names{Env: env})
		t := v.Text(CtlFactoryKey)
		switch {
		case !t.Set:
			v.Missing(CodeFactoryMissing, CtlFactoryKey, t)
			continue
		case !d.Offline:
			p := v.Problem(CodeUnknownPlugin, CtlFactoryKey, t,
				"cannot load "+t.Text+": plug-ins written in Python cannot be loaded", "remove the section")
			if any {
				p.Severity = SeverityWarning
				p.Message += "; its actions are not there"
			}
			v.Report(p)
		}
		for _, e := range s.All() {
			if e.Key != CtlFactoryKey {
				v.Free(e)
			}
		}
	}
}

// Environ makes a table of NAME=value words; the first of a name counts.
func Environ(words []string) map[string]string {
	env := make(map[string]string, len(words))
	for _, word := range words {
		name, val, ok := strings.Cut(word, "=")
		if _, known := env[name]; ok && !known {
			env[name] = val
		}
	}
	return env
}
