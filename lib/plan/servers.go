package plan

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sup/lib/access"
	"sup/lib/config"
	secret "sup/lib/password"
	"sup/lib/value"
)

// servers reads the sections of servers, those on TCP first.
func (l *loader) servers() {
	for _, s := range l.sectionsOf(config.KindInetServer) {
		v := l.dec.Values(s, config.KindInetServer, l.names())
		srv := newServer(s)
		srv.Limits = limits(v)
		l.auth(v, &srv)
		t := v.Text("port")
		if !t.Set {
			v.Missing("port-missing", "port", t)
		} else if host, port, err := value.ParseInet(t.Text); err != nil {
			v.BadValue("port", t, err)
		} else {
			srv.Host, srv.Port = host, port
		}
		l.secure(v, &srv)
		srv.AllowedHosts = slices.DeleteFunc(value.ParseList(v.Text("allowed_hosts").Text), func(s string) bool { return s == "" })
		l.plan.Servers = append(l.plan.Servers, srv)
	}
	for _, s := range l.sectionsOf(config.KindUnixServer) {
		v := l.dec.Values(s, config.KindUnixServer, l.names())
		srv := newServer(s)
		srv.Unix = true
		srv.Limits = limits(v)
		t := v.Text("file")
		if !t.Set {
			v.Missing("file-missing", "file", t)
		} else {
			srv.Path = l.machine.Absolute(value.Trim(t.Text))
		}
		l.auth(v, &srv)
		l.roles(v, &srv)
		var chown config.Text
		chown, srv.UID, srv.GID = v.Owner("bad-chown", "chown")
		srv.Chown, srv.HasChown = chown.Text, chown.Set
		mode := v.Text("chmod")
		n, err := value.ParseOctal(mode.Text)
		if err != nil {
			v.Fail("bad-chmod", "chmod", mode, err.Error(), "write for example 0700")
		}
		srv.Chmod = n
		l.plan.Servers = append(l.plan.Servers, srv)
	}
	l.plan.ServerURL = l.serverURL()
}

func newServer(s *config.Section) Server {
	_, name, named := strings.Cut(s.Name, ":")
	return Server{Name: name, Named: named, Section: s.Name, UID: -1, GID: -1}
}

// auth reads user name and password: both or neither.
func (l *loader) auth(v *config.Values, srv *Server) {
	user, password := v.Text("username"), v.Text("password")
	if user.Set != password.Set {
		given, missing := "username", "password"
		t := user
		if password.Set {
			given, missing, t = missing, given, password
		}
		v.Fail("incomplete-authentication", given, t, "there is a "+given+" without a "+missing, "add "+missing+" = …")
	}
	srv.HasAuth = user.Set && password.Set
	srv.Username, srv.Password = user.Text, password.Text
	if srv.HasAuth && srv.Username == "" && srv.Password != "" && !user.Bad {
		v.Fail("empty-username", "username", user, "the user name is empty, which would switch the password off", "write a user name, or remove both keys")
	}
	if _, err := secret.Parse(srv.Password); err != nil {
		password.Text = "" // not for everybody's eyes
		v.Fail("bad-password", "password", password, "the hash cannot be used: "+err.Error(), "make it with supconf hash")
	}
}

// roles reads who may do what.
func (l *loader) roles(v *config.Values, srv *Server) {
	t := v.Text("roles")
	if !t.Set {
		return
	}
	rules, err := access.ParseRules(t.Text)
	var syntax *access.SyntaxError
	if errors.As(err, &syntax) {
		hint := syntax.Hint
		if near := config.Nearest(syntax.Word, syntax.Words); near != "" {
			hint = "did you mean " + near + "?"
		}
		v.Fail("bad-roles", "roles", t, syntax.Message, hint)
		// Nobody gets by mistake what was to be denied him.
		srv.Roles = access.Rules{}
		return
	}
	for _, g := range rules {
		switch {
		case g.Subject.Kind == access.Group && !srv.Unix:
			v.Fail("bad-roles", "roles", t, "the group "+g.Subject.String()+" is one of this machine, and a server on TCP cannot tell who is in it",
				"name users of users_file, or client certificates as CN=NAME")
		case g.Subject.Kind == access.Certificate && srv.ClientCA == "":
			v.Fail("bad-roles", "roles", t, g.Subject.String()+" is of a client certificate, which the server does not ask for", "add client_ca = …")
		case g.Subject.Kind == access.User && !srv.Unix && srv.UsersFile == "":
			v.Fail("bad-roles", "roles", t, g.Subject.String()+" would be a user of users_file, and there is none", "add users_file = …")
		}
	}
	srv.Roles = rules
}

// secure reads what a server on TCP says of TLS and of several users.
func (l *loader) secure(v *config.Values, srv *Server) {
	file := func(key string) string {
		t := v.Text(key)
		if !t.Set {
			return ""
		}
		if value.Trim(t.Text) == "" {
			v.Fail("no-such-file", key, t, "the name of the file is empty", "name a file, or remove the key")
			return ""
		}
		return l.machine.Absolute(value.Trim(t.Text))
	}
	srv.UsersFile, srv.Certificate, srv.Key, srv.ClientCA = file("users_file"), file("certificate"), file("key"), file("client_ca")
	srv.ClientCertOptional = v.Choice("client_cert") == "optional"
	for _, key := range []string{"key", "client_ca", "client_cert"} {
		if !v.Has("certificate") && v.Has(key) {
			v.Fail("incomplete-tls", key, v.Text(key), "there is "+key+" without certificate", "add certificate = …")
		}
	}
	if v.Has("client_cert") && !v.Has("client_ca") {
		v.Fail("incomplete-tls", "client_cert", v.Text("client_cert"), "there is client_cert without client_ca", "add client_ca = …")
	}
	if srv.Key == "" {
		srv.Key = srv.Certificate
	}
	l.roles(v, srv)
}

// serverURL is the address that programs are told: the first Unix server,
// else the last on TCP.
func (l *loader) serverURL() string {
	url := ""
	for _, s := range l.plan.Servers {
		if s.Unix {
			return "unix://" + s.Path
		}
		host := s.Host
		if host == "" {
			host = "localhost"
		}
		scheme := "http://"
		if s.TLS() {
			scheme = "https://"
		}
		url = scheme + host + ":" + value.FormatInt(int64(s.Port))
	}
	return url
}

// rpcInterfaces reads the sections of RPC interfaces.
func (l *loader) rpcInterfaces() {
	for _, s := range l.sectionsOf(config.KindRPCInterface) {
		v := l.dec.Values(s, config.KindRPCInterface, l.names())
		r := RPCInterface{Name: afterColon(s.Name), Options: make(map[string]string)}
		t := v.Text(config.FactoryKey)
		if !t.Set {
			v.Missing(config.CodeFactoryMissing, config.FactoryKey, t)
			continue
		}
		r.Factory = t.Text
		switch PluginName(t.Text) {
		case config.MainRPCFactory, config.TwiddlerRPCFactory:
			r.Known = true
		default:
			l.unknownPlugin(v, config.FactoryKey, t, "there will be no methods "+r.Name+".*",
				config.MainRPCFactory, config.TwiddlerRPCFactory)
		}
		for _, e := range s.All() {
			if e.Key != config.FactoryKey {
				r.Options[e.Key] = v.Free(e)
			}
		}
		l.plan.RPCInterfaces = append(l.plan.RPCInterfaces, r)
	}
}

// unknownPlugin reports a plug-in that is not built in: plug-ins of Supervisor
// are written in Python and cannot be loaded.
func (l *loader) unknownPlugin(v *config.Values, key string, t config.Text, lost string, known ...string) {
	if l.opts.Offline {
		return
	}
	p := v.Problem(config.CodeUnknownPlugin, key, t,
		"cannot load "+t.Text+": plug-ins written in Python cannot be loaded", "built in are "+strings.Join(known, " and "))
	if l.opts.AnyPlugin {
		p.Severity = config.SeverityWarning
		p.Message += "; " + lost
	}
	l.report(p)
}

// pluginForm is how a plug-in is named: a module and what is in it, perhaps
// with blanks around, perhaps with a list of words in brackets that mean
// nothing. (A section header that was indented by mistake comes here in
// brackets, too; its colon tells it.)
var pluginForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([\w.]+)\s*:\s*([\w.]+)\s*(\[\s*(\w[\w.-]*(\s*,\s*\w[\w.-]*)*)?\s*\])?\s*$`)
})

// PluginName is the plain form, module:function, of how a plug-in is named in
// a configuration.
func PluginName(name string) string {
	if name == config.MainRPCFactory || name == config.DefaultResultHandler {
		return name
	}
	m := pluginForm().FindStringSubmatch(value.Trim(name))
	if m == nil {
		return name
	}
	return m[1] + ":" + m[2]
}
