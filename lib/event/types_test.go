package event

import (
	"slices"
	"strings"
	"testing"
)

func TestTree(t *testing.T) {
	children := map[Type][]Type{
		Any: {ProcessState, ProcessCommunication, ProcessLog, ProcessGroup, SupervisorStateChange, RemoteCommunication, Tick},
		ProcessState: {ProcessStateStarting, ProcessStateRunning, ProcessStateBackoff, ProcessStateStopping,
			ProcessStateExited, ProcessStateStopped, ProcessStateFatal, ProcessStateUnknown},
		ProcessCommunication:  {ProcessCommunicationStdout, ProcessCommunicationStderr},
		ProcessLog:            {ProcessLogStdout, ProcessLogStderr},
		ProcessGroup:          {ProcessGroupAdded, ProcessGroupRemoved},
		SupervisorStateChange: {SupervisorStateChangeRunning, SupervisorStateChangeStopping},
		Tick:                  {Tick5, Tick60, Tick3600},
	}
	for parent, kids := range children {
		var below Set
		for _, kid := range kids {
			if !kid.Is(parent) || parent.Is(kid) {
				t.Errorf("%v and %v: Is is wrong", kid, parent)
			}
			if parent != Any && !strings.HasPrefix(kid.String(), parent.String()+"_") {
				t.Errorf("%v is below %v", kid, parent)
			}
			below |= kid.Leaves()
		}
		if below != parent.Leaves() {
			t.Errorf("%v has leaves %b, its children have %b", parent, parent.Leaves(), below)
		}
	}
	for t1 := range Any {
		if !t1.Leaf() || !t1.Leaves().Has(t1) || len(t1.Leaves().Types()) != 1 {
			t.Errorf("%v is no leaf", t1)
		}
	}
}

func TestNames(t *testing.T) {
	names := Names()
	if len(names) != 27 || len(slices.Compact(slices.Sorted(slices.Values(names)))) != 27 {
		t.Fatalf("%d names: %q", len(names), names)
	}
	for _, name := range names {
		for _, s := range []string{name, strings.ToLower(name)} {
			typ, ok := ByName(s)
			if !ok || typ.String() != name || !Known(s) {
				t.Errorf("ByName(%q) = %v, %v", s, typ, ok)
			}
		}
	}
	for _, name := range []string{"", "TICK_", "TICK_6", "EVENTS", " EVENT", "PROCESS_STATE_"} {
		if Known(name) {
			t.Errorf("%q is known", name)
		}
	}
}

func TestSubscription(t *testing.T) {
	for _, test := range []struct {
		names, want string
	}{
		{"TICK_5", "TICK_5"},
		{"tick", "TICK_5 TICK_60 TICK_3600"},
		{"PROCESS_LOG process_log_stdout TICK_60", "PROCESS_LOG_STDOUT PROCESS_LOG_STDERR TICK_60"},
		{"", ""},
	} {
		set, err := Subscription(strings.Fields(test.names))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, typ := range set.Types() {
			got = append(got, typ.String())
		}
		if strings.Join(got, " ") != test.want {
			t.Errorf("%q is %q, want %q", test.names, got, test.want)
		}
	}
	all, _ := Subscription([]string{"EVENT"})
	if n := len(all.Types()); n != 20 {
		t.Errorf("EVENT has %d leaves", n)
	}
	if _, err := Subscription([]string{"TICK", "NONE"}); err == nil || err.Error() != `unknown event type "NONE"` {
		t.Errorf("error %v", err)
	}
}
