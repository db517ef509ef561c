package daemon

import (
	"maps"
	"strings"
	"testing"

	"sup/lib/logwire"
	"sup/lib/plan"
	"sup/supd/internal/activity"
)

// groupOf makes a group of processes, of which each is written NAME or
// NAME=COMMAND.
func groupOf(name string, processes ...string) *plan.Group {
	g := &plan.Group{Name: name, Kind: plan.KindGroup, Priority: 999}
	for _, text := range processes {
		process, command, _ := strings.Cut(text, "=")
		g.Processes = append(g.Processes, plan.Process{Name: process, Group: name, Command: command})
	}
	return g
}

func TestSuccession(t *testing.T) {
	listeners := func(processes ...string) *plan.Group {
		g := groupOf("l", processes...)
		g.Kind = plan.KindEventListener
		return g
	}
	urgent := groupOf("g", "a", "b")
	urgent.Priority = 1
	for _, test := range []struct {
		name         string
		before, next []*plan.Group
		alive, added string // process entries
		leaving      bool
		want         string // entries in order, with their commands and fates
		notes        int
	}{
		{name: "nothing has changed",
			before: []*plan.Group{groupOf("g", "a", "b")}, next: []*plan.Group{groupOf("g", "a", "b")}, alive: "g:a",
			want: "g:a kept, g:b kept"},
		{name: "a group is new",
			before: []*plan.Group{groupOf("g", "a")}, next: []*plan.Group{groupOf("g", "a"), groupOf("h", "b")}, alive: "g:a",
			want: "g:a kept, h:b fresh"},
		{name: "a group is gone of which one runs",
			before: []*plan.Group{groupOf("g", "a", "b")}, alive: "g:a",
			want: "g:a gone", notes: 1},
		{name: "a group is gone of which nothing runs",
			before: []*plan.Group{groupOf("g", "a")},
			want:   ""},
		{name: "what runs has changed",
			before: []*plan.Group{groupOf("g", "a=1", "b")}, next: []*plan.Group{groupOf("g", "a=2", "b")}, alive: "g:a",
			want: "g:a=1 kept, g:b kept", notes: 1},
		{name: "what does not run has changed",
			before: []*plan.Group{groupOf("g", "a=1", "b")}, next: []*plan.Group{groupOf("g", "a=2", "b")}, alive: "g:b",
			want: "g:a=2 fresh, g:b kept"},
		{name: "processes come and go",
			before: []*plan.Group{groupOf("g", "a", "b", "c")}, next: []*plan.Group{groupOf("g", "d", "a")}, alive: "g:a g:b",
			want: "g:d fresh, g:a kept, g:b gone", notes: 1},
		{name: "one was added by a client",
			before: []*plan.Group{groupOf("g", "a", "b", "c")}, next: []*plan.Group{groupOf("g", "a")}, alive: "g:a g:b", added: "g:b g:c",
			want: "g:a kept, g:b kept, g:c kept"},
		{name: "a shutdown was cut short",
			before: []*plan.Group{groupOf("g", "a", "b", "c")}, next: []*plan.Group{groupOf("g", "a", "b")}, alive: "g:a", added: "g:c", leaving: true,
			want: "g:a kept, g:b fresh"},
		{name: "the group itself has changed",
			before: []*plan.Group{groupOf("g", "a", "b")}, next: []*plan.Group{urgent}, alive: "g:a",
			want: "g:a kept, g:b kept", notes: 1},
		{name: "a pool has changed that runs",
			before: []*plan.Group{listeners("a", "b")}, next: []*plan.Group{listeners("a", "c")}, alive: "l:a",
			want: "l:a kept, l:b kept", notes: 1},
		{name: "a pool has changed that does not run",
			before: []*plan.Group{listeners("a", "b")}, next: []*plan.Group{listeners("a", "c")},
			want: "l:a kept, l:c fresh"},
		{name: "a group has become a pool",
			before: []*plan.Group{groupOf("l", "a", "b")}, next: []*plan.Group{listeners("a", "c")}, alive: "l:b",
			want: "l:a kept, l:b kept", notes: 1},
		{name: "a group has become a pool, and nothing runs",
			before: []*plan.Group{groupOf("l", "a")}, next: []*plan.Group{listeners("a")},
			want: "l:a fresh"},
	} {
		t.Run(test.name, func(t *testing.T) {
			in := &succeeding{before: test.before, alive: entriesOf(test.alive), added: entriesOf(test.added), leaving: test.leaving}
			for _, g := range test.next {
				in.next = append(in.next, *g)
			}
			out := succeed(in)
			fates := maps.Clone(out.fates)
			var got []string
			for _, g := range out.groups {
				for _, c := range g.Processes {
					key := entry{g.Name, c.Name}
					text := key.apiName()
					if c.Command != "" {
						text += "=" + c.Command
					}
					got = append(got, text+" "+[]string{"fresh", "kept", "gone"}[fates[key]])
					delete(fates, key)
				}
			}
			if text := strings.Join(got, ", "); text != test.want {
				t.Errorf("got %s, want %s", text, test.want)
			}
			if len(fates) > 0 {
				t.Errorf("fates of nothing: %v", fates)
			}
			if len(out.notes) != test.notes {
				t.Errorf("notes are %q", out.notes)
			}
		})
	}
}

func entriesOf(text string) map[entry]bool {
	m := map[entry]bool{}
	for name := range strings.FieldsSeq(text) {
		var e entry
		e.group, e.name, _ = strings.Cut(name, ":")
		m[e] = true
	}
	return m
}

// No two streams have one number, whatever numbers they have with suplog.
func TestStreamsKeepApart(t *testing.T) {
	for _, order := range [][]int{{1, 2, 3, 4}, {4, 3, 2, 1}, {2, 1, 9, 3}} {
		d := New(Options{Plan: &plan.Plan{}, Log: activity.New(activity.Info)})
		d.addGroupAs(groupOf("g", "a", "b"), nil)
		var streams []*stream
		for _, p := range d.listing {
			streams = append(streams, p.streams()...)
		}
		var theirs []*logwire.Message
		for i, s := range streams {
			theirs = append(theirs, &logwire.Message{Stream: logwire.Stream(order[i]), Settings: s.settings, FDs: []int{-1}})
		}
		d.logs.reclaimAll(theirs, func(*proc) bool { return true })
		for i, s := range streams {
			if d.logs.streams[s.id] != s || int(s.id) != order[i] {
				t.Errorf("%v: %s has %d", order, s.settings.Name, s.id)
			}
		}
		if len(d.logs.streams) != len(streams) {
			t.Errorf("%v: there are %d streams", order, len(d.logs.streams))
		}
	}
}
