package rpc

import (
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEncoderLayout(t *testing.T) {
	var e Encoder
	e.BeginResponse()
	e.BeginArray()
	e.Int(1 << 40)
	e.Bool(true)
	e.String("a<b>&\x00\xff\ufffe\u00fc")
	e.State(State{1, "RUNNING"})
	e.EndArray()
	e.EndResponse()
	want := "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><array><data>\n" +
		"<value><int>1099511627776</int></value>\n<value><boolean>1</boolean></value>\n" +
		"<value><string>a&lt;b&gt;&amp;\ufffd\ufffd\ufffd\u00fc</string></value>\n" +
		"<value><struct>\n<member>\n<name>statecode</name>\n<value><int>1</int></value>\n</member>\n" +
		"<member>\n<name>statename</name>\n<value><string>RUNNING</string></value>\n</member>\n</struct></value>\n" +
		"</data></array></value>\n</param>\n</params>\n</methodResponse>\n"
	if got := string(e.Bytes()); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	e.Reset(nil)
	e.FaultResponse(NewFault(BadName, "x"))
	want = "<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n" +
		"<value><int>10</int></value>\n</member>\n<member>\n<name>faultString</name>\n<value><string>BAD_NAME: x</string></value>\n" +
		"</member>\n</struct></value>\n</fault>\n</methodResponse>\n"
	if got := string(e.Bytes()); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
}

func TestProcessInfoIsAStructOfItsMembers(t *testing.T) {
	p := ProcessInfo{"n<", "g", 1, 2, 3, 20, "RUNNING", "e", -1, "/l", "/l", "/e", 7, "pid 7, uptime 0:00:02"}
	var fast, plain Encoder
	fast.ProcessInfo(&p)
	plain.BeginStruct()
	plain.stringMember("name", p.Name)
	plain.stringMember("group", p.Group)
	plain.intMember("start", p.Start)
	plain.intMember("stop", p.Stop)
	plain.intMember("now", p.Now)
	plain.intMember("state", int64(p.State))
	plain.stringMember("statename", p.StateName)
	plain.stringMember("spawnerr", p.SpawnErr)
	plain.intMember("exitstatus", int64(p.ExitStatus))
	plain.stringMember("logfile", p.Logfile)
	plain.stringMember("stdout_logfile", p.StdoutLogfile)
	plain.stringMember("stderr_logfile", p.StderrLogfile)
	plain.intMember("pid", int64(p.PID))
	plain.stringMember("description", p.Description)
	plain.EndStruct()
	if string(fast.Bytes()) != string(plain.Bytes()) {
		t.Errorf("got %s\nwant %s", fast.Bytes(), plain.Bytes())
	}
}

func TestConfigInfo(t *testing.T) {
	c := ConfigInfo{Name: "n", Group: "g", UID: -1, ExitCodes: []int{0, 2}, AutoRestart: true,
		Stdout: StreamConfig{Logfile: "auto", LogfileMaxBytes: 5 << 30}}
	var e Encoder
	e.BeginResponse()
	e.ConfigInfo(&c)
	e.EndResponse()
	if err := wellFormed(e.Bytes()); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(string(e.Bytes()), "\n", "")
	for _, want := range []string{
		"<name>uid</name><value><string>none</string>", "<name>directory</name><value><string>none</string>",
		"<name>exitcodes</name><value><array><data><value><int>0</int></value><value><int>2</int></value></data>",
		"<name>autorestart</name><value><boolean>1</boolean>", "<name>stdout_logfile_maxbytes</name><value><int>5368709120</int>",
		"<name>stderr_logfile</name><value><string>none</string>", "<name>stdout_logfile</name><value><string>auto</string>",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in %s", want, got)
		}
	}
	if n := strings.Count(got, "<member>"); n != 30 {
		t.Errorf("%d members", n)
	}
}

func TestWholeText(t *testing.T) {
	for _, test := range []struct {
		in   string
		want int
	}{
		{"", 0}, {"abc", 3}, {"aü", 3}, {"a\xc3", 1}, {"a\xf0\x9f\x98", 1}, {"a\xf0\x9f\x98\x80", 5},
		{"a\xff", 2}, {"\x80\x80\x80\x80\x80", 5}, {"\xe2\x82", 0},
	} {
		if got := WholeText([]byte(test.in)); got != test.want {
			t.Errorf("%q: got %d, want %d", test.in, got, test.want)
		}
	}
}

// FuzzAppendText checks that every text gives a well-formed document and that
// encoding it in two pieces is the same as encoding it whole.
func FuzzAppendText(f *testing.F) {
	f.Add([]byte("a<b>\x1b[0m\x00\xff\xc3\xbc]]>"), uint(4))
	f.Fuzz(func(t *testing.T, s []byte, cut uint) {
		var e Encoder
		e.BeginResponse()
		e.String(string(s))
		e.EndResponse()
		if err := wellFormed(e.Bytes()); err != nil || !utf8.Valid(e.Bytes()) {
			t.Fatalf("%v in %q", err, e.Bytes())
		}
		n := WholeText(s[:cut%uint(len(s)+1)])
		if got, want := string(AppendText(AppendText(nil, string(s[:n])), string(s[n:]))), string(AppendText(nil, string(s))); got != want && utf8.Valid(s) {
			t.Fatalf("got %q in two pieces, %q in one", got, want)
		}
	})
}

func BenchmarkAllProcessInfo(b *testing.B) {
	infos := make([]ProcessInfo, 200)
	for i := range infos {
		n := "p" + strconv.Itoa(i)
		infos[i] = ProcessInfo{Name: n, Group: n, Start: 1790000000, Now: 1790000100, State: 20, StateName: "RUNNING", PID: 1000 + i,
			Logfile: "/var/log/some/where/logs/" + n + ".log", StdoutLogfile: "/var/log/some/where/logs/" + n + ".log", Description: "pid 1000, uptime 0:01:40"}
	}
	e := NewEncoder(nil)
	for b.Loop() {
		e.Reset(e.Bytes()[:0])
		e.BeginResponse()
		e.BeginArray()
		for i := range infos {
			e.ProcessInfo(&infos[i])
		}
		e.EndArray()
		e.EndResponse()
	}
	b.SetBytes(int64(e.Len()))
}

func BenchmarkParseCall(b *testing.B) {
	body := []byte(request(param("<string>group:name</string>") + param("<boolean>1</boolean>")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseCall(body); err != nil {
			b.Fatal(err)
		}
	}
}
