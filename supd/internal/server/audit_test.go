package server

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"

	"sup/lib/rpc"
	"sup/supd/internal/record"
	"sup/supd/internal/suspend"
)

// recorded are the entries since the last call, as METHOD NAME REASON: RESULT.
func (s *site) recorded(since *int64) (lines []string) {
	s.t.Helper()
	entries, err := s.srv.opts.Record.Read(*since)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		if e.Kind != record.Call || e.Who == nil {
			s.t.Errorf("%+v", e)
		}
		*since = e.ID
		lines = append(lines, strings.Join(strings.Fields(e.Method+" "+e.Name+" "+e.Reason), " ")+": "+e.Result)
	}
	return lines
}

func TestAuditOfCalls(t *testing.T) {
	f := newFake()
	s := roleSite(t, f, "admin: ME")
	var since int64
	const secret = "271828"
	badName, badParams := rpc.NewFault(rpc.BadName, "nosuch"), rpc.NewFault(rpc.IncorrectParameters, "PASSWORD="+secret)
	for _, test := range []struct {
		method string
		params []string
		fault  error // of the daemon
		want   string
	}{
		{"supervisor.startProcess", []string{"one"}, nil, "supervisor.startProcess one: ok"},
		{"supervisor.startProcess", []string{"nosuch"}, badName, "supervisor.startProcess nosuch: BAD_NAME: nosuch"},
		{"supervisor.signalProcess", []string{"one", "HUP"}, nil, "supervisor.signalProcess one HUP: ok"},
		{"supervisor.sendProcessStdin", []string{"one", secret}, nil, "supervisor.sendProcessStdin one: ok"},
		{"supervisor.sendProcessStdin", []string{"one", num(secret)}, nil, "supervisor.sendProcessStdin one: INCORRECT_PARAMETERS"},
		{"twiddler.addProgramToGroup", []string{"g", "p", "<struct></struct>"}, nil, "twiddler.addProgramToGroup g:p: ok"},
		{"twiddler.addProgramToGroup", []string{"g", "p", "<struct></struct>"}, badParams, "twiddler.addProgramToGroup g:p: INCORRECT_PARAMETERS"},
		{"twiddler.removeProcessFromGroup", []string{"g", "p"}, nil, "twiddler.removeProcessFromGroup g:p: ok"},
		{"supervisor.getState", nil, nil, ""},
	} {
		f.setFault(test.fault)
		s.call(test.method, test.params...)
		s.call("system.multicall", "<array><data>"+entry(test.method, test.params...)+"</data></array>")
		want := []string{test.want, test.want}
		if test.want == "" {
			want = nil
		}
		if got := s.recorded(&since); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s %q: %q", test.method, test.params, got)
		}
	}
}

// What the page says and what came of an action are not always the same.
func TestAuditOfThePage(t *testing.T) {
	f := newFake()
	s := roleSite(t, f, "admin: ME")
	var since int64
	spawn := rpc.NewFault(rpc.SpawnError, "")
	for _, test := range []struct {
		query string
		fault error
		want  string
	}{
		{"action=stop&processname=one", nil, "page stop one: ok"},
		{"action=stop&processname=nosuch", nil, "page stop nosuch: BAD_NAME: nosuch"},
		{"action=stop&processname=g:*", nil, "page stop g:*: BAD_NAME: g:*"},
		{"action=start&processname=one", spawn, "page start one: SPAWN_ERROR: one"},
		{"action=restart&processname=one", spawn, "page restart one: SPAWN_ERROR: one"},
		{"action=stop&groupname=g", spawn, "page stop g:*: SPAWN_ERROR: g"},
		{"action=stopall", nil, "page stopall: ok"},
		{"action=refresh", nil, ""},
	} {
		f.setFault(test.fault)
		s.get("GET", "/index.html?"+test.query, "")
		if got := strings.Join(s.recorded(&since), ","); got != test.want {
			t.Errorf("%s: %q", test.query, got)
		}
	}
}

// The record has a fixed size: what a client makes up must not displace the rest.
func TestAttackRecordOfMadeUpWords(t *testing.T) {
	s := roleSite(t, newFake(), "read: ME")
	var since int64
	const many = 200
	for i := range many {
		word := fmt.Sprint("w", i)
		s.get("GET", "/index.html?action="+word+"&processname="+word, "")
		s.call("supervisor.signalProcess", word, word)
		s.call("supervisor.startProcess", word)
		s.call("twiddler.removeProcessFromGroup", word, word)
	}
	if got := s.recorded(&since); len(got) == 0 || len(got) > many {
		t.Errorf("%d calls make %d entries, such as %q", 4*many, len(got), got[:min(len(got), 5)])
	}
}

// What a call has begun before it was broken off is on record, too, if it can't be
// made again.
func TestAuditOfBrokenCalls(t *testing.T) {
	f := newFake()
	s := roleSite(t, f, "operate: ME")
	f.setFault(&suspend.Error{Memo: json.RawMessage("{}")})
	held := func() HeldCall {
		t.Helper()
		io.WriteString(s.dial(), post(callBody("supervisor.startProcess", "one")))
		eventually(t, "a call is held", func() bool { return len(s.srv.Held()) == 1 })
		return s.srv.takeHeld()[0]
	}
	var since int64
	const want = "supervisor.startProcess one: FAILED: the daemon is being upgraded and waits no longer; what was begun goes on"
	// In these ways they cannot be held at all.
	s.call("system.multicall", "<array><data>"+entry("supervisor.startProcess", "one")+"</data></array>")
	if got := strings.Join(s.recorded(&since), ","); got != want {
		t.Errorf("in a multicall: %q", got)
	}
	s.raw(postWith("Origin: http://x\r\n", callBody("supervisor.startProcess", "one")))
	if got := strings.Join(s.recorded(&since), ","); got != want {
		t.Errorf("not in plain form: %q", got)
	}
	gone, refused, again := held(), held(), held()
	if got := s.recorded(&since); got != nil {
		t.Errorf("%q is recorded before it has ended", got)
	}
	gone.Address = "unix:/nowhere"
	s.srv.Continue([]HeldCall{gone})
	if got := strings.Join(s.recorded(&since), ","); got != want {
		t.Errorf("its server is gone: %q", got)
	}
	roles := s.srv.endpoints[0].gate.conf.Roles
	s.srv.endpoints[0].gate.conf.Roles = roles[:0]
	s.srv.Continue([]HeldCall{refused})
	var got []string
	eventually(t, "a call that is refused", func() bool { got = append(got, s.recorded(&since)...); return got != nil })
	if strings.Join(got, ",") != want {
		t.Errorf("its client has lost the role: %q", got)
	}
	s.srv.endpoints[0].gate.conf.Roles = roles
	f.setFault(nil)
	s.srv.Continue([]HeldCall{again})
	got = nil
	eventually(t, "a call that is made again", func() bool { got = append(got, s.recorded(&since)...); return got != nil })
	if strings.Join(got, ",") != "supervisor.startProcess one: ok" {
		t.Errorf("it is made again: %q", got)
	}
}
