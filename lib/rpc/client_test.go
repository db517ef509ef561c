package rpc

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/kolo/xmlrpc"
)

func TestEncodeCall(t *testing.T) {
	doc, err := EncodeCall("supervisor.startProcess", "a<b>&\x1b", true, -5)
	if err != nil {
		t.Fatal(err)
	}
	want := `<?xml version="1.0" encoding="UTF-8"?><methodCall><methodName>supervisor.startProcess</methodName><params>` +
		"<param><value><string>a&lt;b&gt;&amp;\uFFFD</string></value></param>" +
		"<param><value><boolean>1</boolean></value></param>" +
		"<param><value><int>-5</int></value></param></params></methodCall>"
	if string(doc) != want {
		t.Errorf("got\n%s\nwant\n%s", doc, want)
	}
	if _, err := EncodeCall("m", make(chan int)); err == nil {
		t.Error("a channel was encoded")
	}
}

// answer is a response as Supervisor lays it out.
func answer(value string) []byte {
	return []byte("<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value>" + value +
		"</value>\n</param>\n</params>\n</methodResponse>\n")
}

func TestDecodeResponse(t *testing.T) {
	for _, tt := range []struct {
		name   string
		doc    []byte
		result any
		want   any
	}{
		{"string", answer("<string>a &lt;b&gt; &amp; c\n</string>"), new(string), "a <b> & c\n"},
		{"empty string", answer("<string></string>"), new(string), ""},
		{"blanks", answer("<string>  a  </string>"), new(string), "  a  "},
		{"control characters", answer("<string>\x1b[1mbold\x00\x1b[0m</string>"), new(string), "\uFFFD[1mbold\uFFFD\uFFFD[0m"},
		{"not UTF-8", answer("<string>caf\xe9 \xff</string>"), new(string), "caf\uFFFD \uFFFD"},
		{"int", answer("<int>-3</int>"), new(int), -3},
		{"big", answer("<i8>4294967296</i8>"), new(int), 1 << 32},
		{"bool", answer("<boolean>1</boolean>"), new(bool), true},
		{"groups", answer("<array><data>\n<value><array><data>\n<value><array><data>\n<value><string>x</string></value>\n</data></array></value>\n" +
			"<value><array><data>\n</data></array></value>\n<value><array><data/></array></value></data></array></value>\n</data></array>"),
			new([][][]string), [][][]string{{{"x"}, nil, nil}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := DecodeResponse(tt.doc, tt.result); err != nil {
				t.Fatal(err)
			}
			reflectEqual(t, reflect.ValueOf(tt.result).Elem().Interface(), tt.want)
		})
	}
	var first string
	var number int
	var flag bool
	mixed := []any{&first, &number, &flag}
	err := DecodeResponse(answer("<array><data>\n<value><string>abc</string></value>\n<value><int>3</int></value>\n"+
		"<value><boolean>1</boolean></value>\n</data></array>"), &mixed)
	if err != nil || first != "abc" || number != 3 || !flag {
		t.Errorf("mixed array: %q, %d, %v, %v", first, number, flag, err)
	}
	if err := DecodeResponse(answer("<boolean>1</boolean>"), nil); err != nil {
		t.Errorf("a result that is not wanted: %v", err)
	}
}

func reflectEqual(t *testing.T, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %#v, want %#v", got, want)
	}
}

func TestDecodeFault(t *testing.T) {
	doc := []byte("<?xml version='1.0'?>\n<methodResponse>\n<fault>\n<value><struct>\n<member>\n<name>faultCode</name>\n" +
		"<value><int>92</int></value>\n</member>\n<member>\n<name>faultString</name>\n" +
		"<value><string>CANT_REREAD: \x01 &lt;fault&gt;</string></value>\n</member>\n</struct></value>\n</fault>\n</methodResponse>\n")
	var fault *Fault
	err := DecodeResponse(doc, nil)
	if !errors.As(err, &fault) || fault.Code != CantReread || fault.String != "CANT_REREAD: \uFFFD <fault>" {
		t.Errorf("got %v", err)
	}
	// Text that talks of faults is none.
	var text string
	if err := DecodeResponse(answer("<string>&lt;fault&gt;x&lt;/fault&gt;</string>"), &text); err != nil || text != "<fault>x</fault>" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestDecodeBroken(t *testing.T) {
	for _, doc := range []string{"", "x", "<html>busy</html>", "<methodResponse>", string(answer("<string>x</int>")), string(answer("<struct>"))} {
		var text string
		err := DecodeResponse([]byte(doc), &text)
		if err == nil || !strings.HasPrefix(err.Error(), "cannot read the server's answer: ") {
			t.Errorf("%q: %v", doc, err)
		}
	}
}

func infoDoc(members string) []byte {
	return answer("<array><data>\n<value><struct>\n" + members + "</struct></value>\n</data></array>")
}

const someMembers = "<member>\n<name>name</name>\n<value><string>a</string></value>\n</member>\n" +
	"<member>\n<name>pid</name>\n<value><int>7</int></value>\n</member>\n" +
	"<member>\n<name>description</name>\n<value><string>x &lt;y&gt; &amp; &quot;z&quot; é</string></value>\n</member>\n"

// The quick reader must either agree with the general one or decline.
func TestScanProcessInfos(t *testing.T) {
	for _, tt := range []struct {
		name string
		doc  []byte
		ok   bool
	}{
		{"as Supervisor writes it", infoDoc(someMembers), true},
		{"compact", []byte("<?xml version=\"1.0\"?><methodResponse><params><param><value><array><data><value><struct><member><name>name</name>" +
			"<value><string>a</string></value></member></struct></value></data></array></value></param></params></methodResponse>"), true},
		{"none", answer("<array><data>\n</data></array>"), true},
		{"a member more", infoDoc(someMembers + "<member>\n<name>new</name>\n<value><int>1</int></value>\n</member>\n"), true},
		{"a member of a new type", infoDoc(someMembers + "<member>\n<name>new</name>\n<value><array><data></data></array></value>\n</member>\n"), false},
		{"numeric reference", infoDoc("<member>\n<name>name</name>\n<value><string>a&#13;</string></value>\n</member>\n"), false},
		{"carriage return", infoDoc("<member>\n<name>name</name>\n<value><string>a\r\n</string></value>\n</member>\n"), false},
		{"i4", infoDoc("<member>\n<name>pid</name>\n<value><i4>1</i4></value>\n</member>\n"), false},
		{"untyped", infoDoc("<member>\n<name>name</name>\n<value>a</value>\n</member>\n"), false},
		{"wrong type", infoDoc("<member>\n<name>name</name>\n<value><int>1</int></value>\n</member>\n"), false},
		{"comment", infoDoc("<!-- x -->" + someMembers), false},
		{"cut off", infoDoc(someMembers)[:300], false},
		{"control character", infoDoc("<member>\n<name>name</name>\n<value><string>a\x1b</string></value>\n</member>\n"), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			scanned, ok := scanProcessInfos(tt.doc)
			if ok != tt.ok {
				t.Fatalf("ok = %v, want %v", ok, tt.ok)
			}
			if !ok {
				return
			}
			var general []ProcessInfo
			if err := xmlrpc.Response(tt.doc).Unmarshal(&general); err != nil {
				t.Fatal(err)
			}
			reflectEqual(t, scanned, general)
		})
	}
}

func FuzzScanProcessInfos(f *testing.F) {
	f.Add(infoDoc(someMembers))
	f.Add(infoDoc("<member>\n<name>name</name>\n<value><string>a&#13;&amp;amp;</string></value>\n</member>\n"))
	f.Add(answer("<array><data>\n</data></array>"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		scanned, ok := scanProcessInfos(doc)
		if !ok {
			return
		}
		var general []ProcessInfo
		if err := xmlrpc.Response(doc).Unmarshal(&general); err != nil {
			t.Fatalf("the general reader says: %v", err)
		}
		if !reflect.DeepEqual(scanned, general) {
			t.Fatalf("quick: %#v\ngeneral: %#v", scanned, general)
		}
	})
}

// Whatever a server answers, reading it ends, with or without an error.
func FuzzDecodeResponse(f *testing.F) {
	f.Add(answer("<string>x</string>"))
	f.Add(answer("<array><data><value><struct><member><name>n</name><value><int>1</int></value></member></struct></value></data></array>"))
	f.Add([]byte("<methodResponse><fault><value><struct></struct></value></fault></methodResponse>"))
	f.Fuzz(func(t *testing.T, doc []byte) {
		var text string
		var number int
		var flag bool
		var results []Result
		var infos []ProcessInfo
		var info ProcessInfo
		var nested [][][]string
		mixed := []any{new(string), new(int), new(bool)}
		for _, result := range []any{nil, &text, &number, &flag, &results, &infos, &info, &nested, &mixed} {
			_ = DecodeResponse(doc, result)
		}
	})
}

func BenchmarkDecodeProcessInfos(b *testing.B) {
	var one strings.Builder
	one.WriteString("<value><struct>\n")
	for _, name := range []string{"name", "group", "statename", "spawnerr", "logfile", "stdout_logfile", "stderr_logfile", "description"} {
		one.WriteString("<member>\n<name>" + name + "</name>\n<value><string>/var/log/supervisor/program-stdout.log</string></value>\n</member>\n")
	}
	for _, name := range []string{"start", "stop", "now", "state", "exitstatus", "pid"} {
		one.WriteString("<member>\n<name>" + name + "</name>\n<value><int>1700000000</int></value>\n</member>\n")
	}
	one.WriteString("</struct></value>\n")
	doc := answer("<array><data>\n" + strings.Repeat(one.String(), 200) + "</data></array>")
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		var infos []ProcessInfo
		if err := DecodeResponse(doc, &infos); err != nil || len(infos) != 200 {
			b.Fatal(len(infos), err)
		}
	}
}
