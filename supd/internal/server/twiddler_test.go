package server

import (
	"reflect"
	"strings"
	"testing"

	"sup/lib/config"
	"sup/lib/plan"
)

func options(members string) string { return "<struct>" + members + "</struct>" }

func TestTwiddler(t *testing.T) {
	f := newFake()
	twiddler := plan.RPCInterface{Name: "twiddler", Factory: config.TwiddlerRPCFactory, Known: true}
	s := newSite(t, f, Options{Interfaces: []plan.RPCInterface{twiddler}})
	good := options("<member><name>command</name><value>cat</value></member><member><name>numprocs</name><value><int>2</int></value></member>")
	for _, test := range []struct {
		method string
		params []string
		want   string
		asked  string
	}{
		{"getAPIVersion", nil, str("1.0"), ""},
		{"getGroupNames", nil, "<array><data><value><string>g</string></value><value><string>one</string></value></data></array>", "GroupNames"},
		{"log", []string{"hello"}, isTrue, ""},
		{"log", []string{"hello", "warn"}, isTrue, ""},
		{"log", []string{"hello", num("30")}, isTrue, ""},
		{"log", []string{"hello", "loud"}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"log", []string{"hello", num("31")}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"log", nil, "fault 2 INCORRECT_PARAMETERS", ""},
		{"addProgramToGroup", []string{"g", "p", good}, isTrue, "AddProgram g p map[command:cat numprocs:2]"},
		{"addProgramToGroup", []string{"g", "p", "text"}, "fault 2 INCORRECT_PARAMETERS", ""},
		{"addProgramToGroup", []string{"g", "p", options("<member><name>command</name><value><array><data></data></array></value></member>")},
			"fault 2 INCORRECT_PARAMETERS", ""},
		{"removeProcessFromGroup", []string{"g", "p"}, isTrue, "RemoveProcess g p"},
		{"removeProcessFromGroup", []string{"g"}, "fault 2 INCORRECT_PARAMETERS", ""},
	} {
		got := s.call("twiddler."+test.method, test.params...)
		if asked := strings.Join(f.log(), ", "); got != test.want || asked != test.asked {
			t.Errorf("%s %v: got %s and asked %q, want %s and %q", test.method, test.params, got, asked, test.want, test.asked)
		}
	}
	want := []string{"string", "string", "string", "struct"}
	for i := range twiddlerMethods {
		if m := &twiddlerMethods[i]; m.name == "addProgramToGroup" {
			if got := m.signature()[1:]; !reflect.DeepEqual(got, want[1:]) {
				t.Errorf("signature %v", got)
			}
		}
	}
}

func TestTwiddlerWhitelist(t *testing.T) {
	s := newSite(t, newFake(), Options{Interfaces: []plan.RPCInterface{{
		Name: "tw", Factory: " " + config.TwiddlerRPCFactory, Known: true,
		Options: map[string]string{"whitelist": "log, getGroupNames"},
	}}})
	for method, want := range map[string]string{
		"tw.getAPIVersion": "fault 230 UNKNOWN: getAPIVersion",
		"tw.getGroupNames": "<array>",
	} {
		if got := s.call(method); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", method, got)
		}
	}
	if got := s.call("system.listMethods"); !strings.Contains(got, "tw.addProgramToGroup") {
		t.Errorf("%s", got)
	}
}
