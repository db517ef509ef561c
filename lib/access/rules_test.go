package access

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestParseRules(t *testing.T) {
	for text, want := range map[string]string{
		"admin: root, @wheel; operate: @deploy(web:*, worker:*); read: *": "admin: root, @wheel; operate: @deploy(web:*, worker:*); read: *",
		"ADMIN:root":                         "admin: root",
		"\nadmin: 0\nread: @10 , bob;;\n":    "admin: 0; read: @10, bob",
		"operate: CN=deploy(web),ou = ops":   "operate: CN=deploy(web), OU=ops",
		"operate: joe(a:,*)":                 "operate: joe(a:*, *)",
		"read: a;read: b":                    "read: a, b",
		"operate: a(x:*,\n y:*); admin: b":   "operate: a(x:*, y:*); admin: b",
		"read: CN=Web Server 1, DNS=h.x.org": "read: CN=Web Server 1, DNS=h.x.org",
	} {
		r, err := ParseRules(text)
		if err != nil || r.String() != want {
			t.Errorf("%q: %q, %v", text, r, err)
		}
	}
	for text, want := range map[string]string{
		"":                              "nobody",
		" ; ":                           "nobody",
		"admin root":                    "no colon",
		"admn: root":                    `"admn" is no role`,
		"none: root":                    `"none" is no role`,
		"admin:":                        "missing",
		"admin: root,":                  "missing",
		"admin: root, , x":              "missing",
		"admin: root(web:*)":            "cannot be limited",
		"read: x(web:*)":                "cannot be limited",
		"operate: x(web:*":              "do not match",
		"operate: x(web:*))":            "do not match",
		"operate: x((web:*))":           "do not match",
		"operate: x(web:*) y":           "do not match",
		"operate: x()":                  "names no processes",
		"operate: x(:a)":                "names no processes",
		"operate: x(a b)":               "names no processes",
		"operate: @":                    "no name after @",
		"operate: CN=":                  "no name after CN",
		"operate: XX=a":                 "no attribute",
		"admin: a b":                    "no name of a user",
		"admin: root read: bob":         "no name of a user",
		"admin: ro*":                    "no name of a user",
		"operate: x(a:b; read: y); (":   "names no processes",
		"admin: root; oprate: x(web:*)": "no role",
	} {
		_, err := ParseRules(text)
		var e *SyntaxError
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) || e.Hint == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, test := range []struct {
		pattern, name string
		want          bool
	}{
		{"web:*", "web:web", true}, {"web:*", "web:x", true}, {"web:*", "web2:x", false}, {"web:", "web:x", true},
		{"web", "web:web", true}, {"web", "web:x", false}, {"web*", "web1:web1", true}, {"web*", "web1:web2", false},
		{"*", "a:b", true}, {"*:*", "a:b", true}, {"*:x", "a:x", true}, {"*:x", "a:y", false},
		{"a:w?", "a:w1", true}, {"a:w?", "a:w", false}, {"a:w?", "a:w11", false},
		{"a:*b*c", "a:xbybzc", true}, {"a:*b*c", "a:xbybz", false}, {"Web:*", "web:x", false},
		{"web:a", "web:a:b", false}, {"web:*", "web:a:b", true},
	} {
		list, err := parsePatterns("", test.pattern)
		if err != nil {
			t.Fatal(err)
		}
		group, process, _ := strings.Cut(test.name, ":")
		if got := list[0].Match(group, process); got != test.want {
			t.Errorf("%s %s: %v", test.pattern, test.name, got)
		}
	}
	// What takes exponential time in naive matchers.
	if glob(strings.Repeat("*a", 50)+"b", strings.Repeat("a", 5000)) {
		t.Error("matches")
	}
}

func TestDecide(t *testing.T) {
	rules, err := ParseRules("read: *; operate: @deploy(web:*), bob(db:*), carol; admin: root; operate: root(x:*)")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		who   []string
		role  Role
		names string
	}{
		{nil, Read, ""},
		{[]string{"@deploy"}, Operate, "web:*"},
		{[]string{"@deploy", "bob"}, Operate, "web:* db:*"},
		{[]string{"@deploy", "carol"}, Operate, ""},
		{[]string{"root", "bob"}, Admin, ""},
		{[]string{"CN=root"}, Read, ""},
	} {
		role, names := rules.Decide(func(s Subject) bool { return s.Kind == Anyone || slices.Contains(test.who, s.String()) })
		var text []string
		for _, n := range names {
			text = append(text, n.String())
		}
		if role != test.role || strings.Join(text, " ") != test.names {
			t.Errorf("%v: %v %q", test.who, role, text)
		}
	}
	if role, _ := (Rules{}).Decide(func(Subject) bool { return true }); role != None {
		t.Error("no rules give nothing")
	}
}

func TestMayOperate(t *testing.T) {
	web := []Pattern{{"web", "*"}}
	for _, test := range []struct {
		client Client
		want   bool
	}{
		{Client{Role: Admin}, true}, {Client{Role: Admin, Names: web}, true}, {Client{Role: Operate}, true}, {Client{Role: Read}, false},
		{Client{}, false}, {Client{Role: Operate, Names: web}, false}, {Client{Role: Operate, Names: []Pattern{{"db", "a"}}}, true},
		{Client{Role: Operate, Names: []Pattern{}}, false}, {Client{Role: Read, Names: []Pattern{All}}, false},
	} {
		if got := test.client.MayOperate("db", "a"); got != test.want {
			t.Errorf("%+v: %v", test.client, got)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add("admin: root, @wheel; operate: @deploy(web:*, worker:*); read: *")
	f.Add("operate: CN=a b(x,y:),*\nread:@1")
	f.Fuzz(func(t *testing.T, text string) {
		rules, err := ParseRules(text)
		if err != nil {
			if rules != nil {
				t.Error("rules and an error")
			}
			return
		}
		again, err := ParseRules(rules.String())
		if err != nil || again.String() != rules.String() {
			t.Errorf("%q is written %q, and that %q, %v", text, rules, again, err)
		}
	})
}
