package config

import (
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// tree writes files, given as name and text, into a new directory. A text
// that begins with "->" makes a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(text, "->"); ok {
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestGlob(t *testing.T) {
	dir := tree(t, map[string]string{
		"a.conf": "", "b.conf": "", "c.txt": "", ".h.conf": "", "d/x.conf": "", "d/.y.conf": "", "e/x.conf": "",
		"^.conf": "", "].conf": "", "[z.conf": "", "é.conf": "", "gone": "->nowhere", "f\\.conf": "",
	})
	for _, tt := range []struct {
		pattern string
		want    []string
	}{
		{"*.txt", []string{"c.txt"}},
		{"?.conf", []string{"].conf", "^.conf", "a.conf", "b.conf", "é.conf"}},
		{"[ab].conf", []string{"a.conf", "b.conf"}},
		{"[a-b].conf", []string{"a.conf", "b.conf"}},
		{"[b-a].conf", nil},
		{"[!a-b].conf", []string{"].conf", "^.conf", "é.conf"}},
		{"[^a].conf", []string{"^.conf", "a.conf"}},
		{"[]a].conf", []string{"].conf", "a.conf"}},
		{"[!]a].conf", []string{"^.conf", "b.conf", "é.conf"}},
		{"[z.conf", []string{"[z.conf"}},
		{"[z.*", []string{"[z.conf"}},
		{".*.conf", []string{".h.conf"}},
		{"*/x.conf", []string{"d/x.conf", "e/x.conf"}},
		{"*/.y.conf", []string{"d/.y.conf"}},
		{"**/x.conf", []string{"d/x.conf", "e/x.conf"}},
		{"d/", []string{"d/"}},
		{"*/", []string{"d/", "e/"}},
		{"gone", []string{"gone"}},
		{"gon*", []string{"gone"}},
		{"nothing", nil},
		{"{a,b}.conf", nil},
		{`\a.conf`, nil},
		{`f\*`, []string{`f\.conf`}},
		{"a.conf/x", nil},
		{"./a.conf", []string{"./a.conf"}},
		{"*a*.*o*f*", []string{"a.conf"}},
	} {
		got, _ := (&globber{left: globSteps}).glob(dir + "/" + tt.pattern)
		for i := range got {
			got[i] = strings.TrimPrefix(got[i], dir+"/")
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("glob(%q) = %q, want %q", tt.pattern, got, tt.want)
		}
	}
}

func TestMatchName(t *testing.T) {
	matchName := func(pattern, name string) bool {
		return (&globber{left: globSteps}).match(parsePattern(pattern), []rune(name))
	}
	// No pattern takes for ever.
	if matchName(strings.Repeat("*a", 60)+"b", strings.Repeat("a", 200)) {
		t.Error("matched")
	}
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a-c", "a-c", true}, {"[a-]", "-", true}, {"[-a]", "-", true}, {"[--0]", ".", true},
		{"[a-c-e]", "-", true}, {"[a-c-e]", "d", false}, {"[!-]", "a", true}, {"", "", true}, {"*", "", true},
	} {
		if got := matchName(tt.pattern, tt.name); got != tt.want {
			t.Errorf("matchName(%q, %q) = %t", tt.pattern, tt.name, got)
		}
	}
}

func readTree(dir string, env map[string]string) *Document {
	return Read(Reading{File: filepath.Join(dir, "main.conf"), Includes: true, Env: env, Host: "box"})
}

func TestInclude(t *testing.T) {
	dir := tree(t, map[string]string{
		"main.conf":  "[a]\nx=main\nw=%(here)s\nv=%(here)10s\n[include]\nfiles = inc/*.conf\n  %(ENV_MORE)s nothing.conf inc\n",
		"inc/1.conf": "[a]\nx=one\n[b]\ny=%(here)s\n[include]\nfiles=/etc/passwd\n",
		"inc/2.conf": "[b]\nz=two\n[DEFAULT]\nd=%(here)s/d\n",
		"more.conf":  "[c]\n",
	})
	d := readTree(dir, map[string]string{"MORE": "more.conf"})
	want := strings.ReplaceAll(`[DEFAULT] d="%(here)s/d"
[a] x="one" w="DIR" v="%(here)10s" d="DIR/inc/d"
[include] files="/etc/passwd" d="DIR/inc/d"
[b] y="DIR/inc" z="two" d="DIR/inc/d"
[c] d="DIR/d"
include-matches-nothing:6
`, "DIR", dir)
	if got := dumpText(d); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if len(d.Files) != 4 || filepath.Base(d.Files[3]) != "more.conf" {
		t.Errorf("files %q", d.Files)
	}
	if x := d.Section("a").Get("x"); filepath.Base(x.Pos.File) != "1.conf" || x.Pos.Line != 2 {
		t.Errorf("x is at %v", x.Pos)
	}
}

func TestIncludeProblems(t *testing.T) {
	for _, tt := range []struct{ main, inc, want string }{
		{"[include]\n", "", "include-without-files"},
		{"[DEFAULT]\nfiles=\n[include]\n", "", ""},
		{"[include]\nfiles=%(ENV_NO)s\n", "", "unknown-expansion"},
		{"[include]\nfiles=%(program_name)s\n", "", "unknown-expansion"},
		{"[include]\nfiles=%d\n", "", "bad-expansion"},
		{"[include]\nfiles=i.conf\n", "x\n", "text-before-first-section"},
		{"[include]\nfiles=i.conf\n", "[a]\nx\n", "bad-line"},
		{"[include]\nfiles=i.conf\n", "\xff\n", "not-utf8"},
		{"[include]\nfiles=\"i.conf\"\n", "", "include-matches-nothing"},
	} {
		d := readTree(tree(t, map[string]string{"main.conf": tt.main, "i.conf": tt.inc}), nil)
		got := ""
		if len(d.Problems) > 0 {
			got = d.Problems[0].Code
		}
		if got != tt.want {
			t.Errorf("%q: %s, want %s", tt.main, got, tt.want)
		}
	}
}

func TestReadErrors(t *testing.T) {
	dir := tree(t, map[string]string{"d/x": ""})
	for file, code := range map[string]string{"nothing": CodeNoSuchFile, "d": CodeUnreadableFile} {
		d := Read(Reading{File: file, Dir: dir})
		if len(d.Problems) != 1 || d.Problems[0].Code != code || d.Problems[0].File != filepath.Join(dir, file) {
			t.Errorf("%s: %+v", file, d.Problems)
		}
	}
}

func TestNearest(t *testing.T) {
	keys := Schema(KindProgram).KeyNames()
	for word, want := range map[string]string{
		"autostrat": "autostart", "comand": "command", "stdout-logfile": "stdout_logfile", "numproc": "numprocs",
		"stopwaitsec": "stopwaitsecs", "startsec": "startsecs", "enviroment": "environment", "zzz": "", "x": "",
		"AutoRestart": "autorestart", "process": "",
	} {
		if got := Nearest(word, keys); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}

func TestMachine(t *testing.T) {
	dir := t.TempDir()
	m := NewMachine(map[string]string{"HOME": "/home/x/"}, dir)
	for path, want := range map[string]string{
		"~": "/home/x", "~/a": "/home/x/a", "~root": "/root", "~root/a": "/root/a", "~no such/a": "~no such/a", "a~": "a~", "": "",
	} {
		if got := m.ExpandHome(path); got != want {
			t.Errorf("ExpandHome(%q) = %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string]string{"": dir, "a/../b": dir + "/b", "/a//b": "/a/b", "~/c": "/home/x/c"} {
		if got := m.Absolute(path); got != want {
			t.Errorf("Absolute(%q) = %q, want %q", path, got, want)
		}
	}
	if uid, gid, err := m.User("root"); uid != 0 || gid != 0 || err != nil {
		t.Errorf("root is %d, %d, %v", uid, gid, err)
	}
	if uid, _, err := m.User("\u0660"); uid != 0 || err != nil {
		t.Errorf("a zero of another script is %d, %v", uid, err)
	}
	for _, s := range []string{"", "no such user", "root:root", "-1", "4000000000"} {
		if _, _, err := m.User(s); err == nil {
			t.Errorf("User(%q) succeeds", s)
		}
	}
	if uid, gid, err := m.Owner("root:root"); uid != 0 || gid != 0 || err != nil {
		t.Errorf("root:root is %d, %d, %v", uid, gid, err)
	}
	if uid, gid, err := m.Owner("0"); uid != 0 || gid != -1 || err != nil {
		t.Errorf("0 is %d, %d, %v", uid, gid, err)
	}
	for _, s := range []string{"", ":root", "root:", "root.root", "root:no such group", "root:root:root"} {
		if _, _, err := m.Owner(s); err == nil {
			t.Errorf("Owner(%q) succeeds", s)
		}
	}
	if got := m.TempDir(map[string]string{"TMPDIR": "/no/such", "TMP": dir}); got != dir {
		t.Errorf("TempDir is %s", got)
	}
}

func TestSearch(t *testing.T) {
	dir := tree(t, map[string]string{"pfx/bin/supd": "", "pfx/etc/supervisord.conf": "", "cwd/supervisord.conf": ""})
	if got := Search(SearchPaths(dir+"/pfx/bin/supd"), dir+"/cwd"); got != dir+"/pfx/etc/supervisord.conf" {
		t.Errorf("found %q", got)
	}
	if got := Search(SearchPaths(dir+"/cwd/bin/supd"), dir+"/pfx"); got != dir+"/cwd/supervisord.conf" {
		t.Errorf("found %q", got)
	}
	if got := Search(SearchPaths("/no/bin/supd"), dir+"/pfx"); got != "etc/supervisord.conf" {
		t.Errorf("found %q", got)
	}
}

func TestClient(t *testing.T) {
	dir := tree(t, map[string]string{
		"full.conf":  "[supervisorctl]\nserverurl=unix://%(here)s/x/../s\nusername=%(ENV_U)s\npassword=\nprompt=p%%\nhistory_file=~/h\n",
		"empty.conf": "[supervisorctl]\n[include]\n[program:x]\nnumprocs=junk\n",
		"none.conf":  "[supervisord]\n",
		"bad.conf":   "[supervisorctl]\nfoo\n",
		"plug.conf":  "[supervisorctl]\n[ctlplugin:x]\nsupervisor.ctl_factory=a:b\n",
		"here.conf":  "[supervisorctl]\nprompt=%(here)s\n",
	})
	load := func(file string) (*Client, error) {
		return LoadClient(ClientOptions{File: file, Dir: dir, Environ: []string{"HOME=/root", "U=user"}})
	}
	c, err := load("full.conf")
	if err != nil {
		t.Fatal(err)
	}
	want := Client{
		File: dir + "/full.conf", ServerURL: "unix://" + dir + "/s", Username: "user", HasUsername: true,
		HasPassword: true, Prompt: "p%", HistoryFile: "/root/h",
	}
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got  %+v\nwant %+v", *c, want)
	}
	if c, err = load("empty.conf"); err != nil || c.ServerURL != "http://localhost:9001" || c.Prompt != "supervisor" || c.HasUsername {
		t.Errorf("%+v, %v", c, err)
	}
	c, err = LoadClient(ClientOptions{File: "plug.conf", Dir: dir, AnyPlugin: true})
	if err != nil || len(c.Warnings) != 1 || c.Warnings[0].Code != CodeUnknownPlugin || c.Warnings[0].Line != 3 {
		t.Errorf("%+v, %v", c, err)
	}
	for file, code := range map[string]string{
		"none.conf": CodeNoSupervisorctl, "bad.conf": CodeBadLine, "plug.conf": CodeUnknownPlugin,
		"here.conf": CodeUnknownExpansion, "nothing": CodeNoSuchFile,
	} {
		_, err := load(file)
		if p, ok := err.(*Problem); !ok || p.Code != code {
			t.Errorf("%s: %v, want %s", file, err, code)
		}
	}
	// Without a file the client has its defaults.
	c, err = LoadClient(ClientOptions{Program: dir + "/no/bin/supctl", Dir: t.TempDir(), Environ: []string{}})
	if err == nil && c.File == "" && c.ServerURL != "http://localhost:9001" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestIsURL(t *testing.T) {
	for s, want := range map[string]bool{
		"http://h": true, "unix:///x": true, "h:1": true, "unix://": false, "http://?x": false, "": false, "x": false,
		"//h/x": false, "1h:x": false, ":x": false, "http://[::1": false, "http://[::1]:80": true, "a_b:x": false, " http://h": true,
	} {
		if got := IsURL(s); got != want {
			t.Errorf("IsURL(%q) = %t", s, got)
		}
	}
}

func TestWritable(t *testing.T) {
	for s, want := range map[string]bool{
		"": true, "a": true, "a;b": true, ";a": true, "a ;b": false, "a #b": false, "a;b ;c": true, "a#b #c": true,
		"a\nb": true, "a\n\nb": true, "a\n": false, " a": false, "a\n;b": false, "`a`": true, "\"a\"": true,
		"a\rb": false, "a\n[b]": true, "a\nx=1": true,
	} {
		if got := Writable("k", s); got != want {
			t.Errorf("Writable(%q) = %t", s, got)
		}
	}
}

func TestSchema(t *testing.T) {
	for _, s := range Schemas() {
		if s.Doc == "" || s.Example == "" {
			t.Errorf("[%s] is not documented", s.Name)
		}
		seen := make(map[string]bool)
		for _, k := range s.Keys {
			if seen[k.Name] {
				t.Errorf("[%s] %s stands there twice", s.Name, k.Name)
			}
			seen[k.Name] = true
			if k.Doc == "" || k.Wanted() == "" || k.Names == 0 {
				t.Errorf("[%s] %s is not described", s.Name, k.Name)
			}
			if k.Required && k.HasDefault {
				t.Errorf("[%s] %s is required and has a default", s.Name, k.Name)
			}
			if !k.HasDefault && k.Example == "" && k.Sample == "" {
				t.Errorf("[%s] %s has nothing to show in the sample", s.Name, k.Name)
			}
		}
		if kind, ok := KindOf(s.Example); !ok || kind != s.Kind {
			t.Errorf("[%s] is taken for another kind", s.Example)
		}
	}
}
