package daemon

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sup/lib/plan"
)

func compare(t *testing.T, active *plan.Plan, text string) (c *comparison, err error) {
	t.Helper()
	c = newComparison(active)
	return c, c.read(context.Background(), strings.NewReader(text))
}

// TestCompareGroups compares groups that come one by one as whole plans are
// compared.
func TestCompareGroups(t *testing.T) {
	group := func(name string, processes ...string) plan.Group {
		g := plan.Group{Name: name, Kind: plan.KindProgram, Priority: 999}
		for _, p := range processes {
			g.Processes = append(g.Processes, plan.Process{Name: p, Group: name, Command: "sleep 1", Environment: map[string]string{"A": "b"}})
		}
		return g
	}
	other := group("same", "a", "b")
	other.Priority = 1
	command := group("same", "a", "b")
	command.Processes[1].Command = "sleep 2"
	listener := group("l", "l")
	listener.Kind, listener.Events = plan.KindEventListener, []string{"TICK"}
	deaf := listener
	deaf.Events = []string{"TICK_5"}
	socket := group("f", "f")
	socket.Kind, socket.Socket = plan.KindFCGI, &plan.Socket{URL: "unix:///a"}
	moved := socket
	moved.Socket = &plan.Socket{URL: "unix:///b"}
	plans := []*plan.Plan{{}}
	for _, groups := range [][]plan.Group{
		{group("same", "a", "b")}, {other}, {command}, {group("same", "a")}, {group("same", "b", "a")}, {group("same")}, {group("same", "a", "b", "c")},
		{listener}, {deaf}, {socket}, {moved}, {group("x", "x"), group("same", "a", "b"), group("y", "y")},
		{group("same", "a", "b"), other}, {group("y"), group("x")},
	} {
		plans = append(plans, &plan.Plan{Groups: groups})
	}
	for i, active := range plans {
		for j, next := range plans {
			text, err := json.Marshal(next.Groups)
			if err != nil {
				t.Fatal(err)
			}
			added, changed, removed := plan.Diff(active, next)
			c, err := compare(t, active, string(text))
			if err != nil || !slices.Equal(c.added, added) || !slices.Equal(c.changed, changed) || !slices.Equal(c.removed(), removed) {
				t.Errorf("%d, %d: %v: %q %q %q, want %q %q %q", i, j, err, c.added, c.changed, c.removed(), added, changed, removed)
			}
		}
	}
}

// TestAttackComparedGroups has what a client can send in 16 MiB; the memory that
// it costs beside the text must stay small.
func TestAttackComparedGroups(t *testing.T) {
	const size = 16 << 20
	fill := func(begin, each, end string) string {
		return begin + strings.Repeat(each+",", (size-len(begin)-len(end))/(len(each)+1)-1) + each + end
	}
	active := &plan.Plan{Groups: []plan.Group{{Name: "g"}}}
	for _, test := range []struct{ name, text, want string }{
		{"processes", fill(`[{"Name":"g","Processes":[`, `{}`, `]}]`), "more than 100000 groups and processes"},
		{"groups", fill(`[`, `{}`, `]`), "more than 100000 groups and processes"},
		{"groups of null", fill(`[`, `null`, `]`), "a group is an object"},
		{"exit codes", fill(`[{"Name":"g","Processes":[{"ExitCodes":[`, `0`, `]}]}]`), "more than 262144 bytes"},
		{"environment", fill(`[{"Name":"g","Processes":[{"Environment":{`, `"a":""`, `}}]}]`), "more than 262144 bytes"},
		{"events", fill(`[{"Name":"g","Events":[`, `""`, `]}]`), "more than 262144 bytes"},
		{"fields", "[{" + func() string {
			var b strings.Builder
			for i := range 100 {
				fmt.Fprintf(&b, `"f%d":1,`, i)
			}
			return b.String()
		}() + `"Name":"g"}]`, "more than 64 fields"},
		{"depth", strings.Repeat("[", size), "a group is an object"},
		{"depth of a process", `[{"Name":"g","Processes":[` + strings.Repeat("[", size/2), "depth"},
		{"name", `[{"Name":"` + strings.Repeat("a", size-100) + `","Processes":[]}]`, "more than 262144 bytes"},
		{"processes twice", `[{"Name":"g","Processes":[],"Processes":[]}]`, "twice"},
		{"name later", `[{"Processes":[],"Name":"g"}]`, "before its processes"},
		{"no end", `[{"Name":"g"`, "EOF"},
		{"no array", `{"Name":"g"}`, "arrays"},
		{"more", `[] []`, "behind"},
		{"no socket", `[{"Name":"f","Kind":"fcgi-program"}]`, "without a socket"},
		{"type", `[{"Name":1}]`, "cannot unmarshal"},
	} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		_, err := compare(t, active, test.text)
		runtime.ReadMemStats(&after)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", test.name, err)
		}
		if held := int64(after.HeapSys) - int64(before.HeapSys); held > 96<<20 {
			t.Errorf("%s: %d MiB more", test.name, held>>20)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newComparison(active).read(ctx, strings.NewReader(`[{"Name":"g"}]`)); err == nil {
		t.Error("goes on without its client")
	}
}
