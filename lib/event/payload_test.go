package event

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestPayloads(t *testing.T) {
	change := func(from, to string) StateChange {
		return StateChange{Process: "p", Group: "g", From: from, To: to, PID: 4711, Tries: 2}
	}
	expected := change("RUNNING", "EXITED")
	expected.Expected = true
	for _, test := range []struct {
		event         Event
		name, payload string
	}{
		{change("STOPPED", "STARTING").Event(), "PROCESS_STATE_STARTING", "processname:p groupname:g from_state:STOPPED tries:2"},
		{change("STARTING", "BACKOFF").Event(), "PROCESS_STATE_BACKOFF", "processname:p groupname:g from_state:STARTING tries:2"},
		{change("STARTING", "RUNNING").Event(), "PROCESS_STATE_RUNNING", "processname:p groupname:g from_state:STARTING pid:4711"},
		{change("RUNNING", "STOPPING").Event(), "PROCESS_STATE_STOPPING", "processname:p groupname:g from_state:RUNNING pid:4711"},
		{change("STOPPING", "STOPPED").Event(), "PROCESS_STATE_STOPPED", "processname:p groupname:g from_state:STOPPING pid:4711"},
		{change("RUNNING", "EXITED").Event(), "PROCESS_STATE_EXITED", "processname:p groupname:g from_state:RUNNING expected:0 pid:4711"},
		{expected.Event(), "PROCESS_STATE_EXITED", "processname:p groupname:g from_state:RUNNING expected:1 pid:4711"},
		{change("BACKOFF", "FATAL").Event(), "PROCESS_STATE_FATAL", "processname:p groupname:g from_state:BACKOFF"},
		{change("STOPPING", "UNKNOWN").Event(), "PROCESS_STATE_UNKNOWN", "processname:p groupname:g from_state:STOPPING"},
		{Stdout.Log("p", "g", 7, "a\nb\n"), "PROCESS_LOG_STDOUT", "processname:p groupname:g pid:7 channel:stdout\na\nb\n"},
		{Stderr.Log("p", "g", 7, ""), "PROCESS_LOG_STDERR", "processname:p groupname:g pid:7 channel:stderr\n"},
		{Stdout.Communication("p", "g", 7, []byte("x\xffy")), "PROCESS_COMMUNICATION_STDOUT", "processname:p groupname:g pid:7\nx\ufffdy"},
		{Stderr.Communication("p", "g", 7, nil), "PROCESS_COMMUNICATION_STDERR", "processname:p groupname:g pid:7\n"},
		{Remote("kind", "line\nline"), "REMOTE_COMMUNICATION", "type:kind\nline\nline"},
		{Remote("k\xff", "\xc3"), "REMOTE_COMMUNICATION", "type:k\ufffd\n\ufffd"},
		{GroupAdded("g"), "PROCESS_GROUP_ADDED", "groupname:g\n"},
		{GroupRemoved("g"), "PROCESS_GROUP_REMOVED", "groupname:g\n"},
		{SupervisorRunning(), "SUPERVISOR_STATE_CHANGE_RUNNING", ""},
		{SupervisorStopping(), "SUPERVISOR_STATE_CHANGE_STOPPING", ""},
	} {
		if test.event.Type.String() != test.name || test.event.Payload != test.payload {
			t.Errorf("got %v %q\nwant %v %q", test.event.Type, test.event.Payload, test.name, test.payload)
		}
	}
	defer func() {
		if recover() == nil {
			t.Error("a change to no state did not panic")
		}
	}()
	StateChange{To: "RUNNIG"}.Event()
}

func TestDecoder(t *testing.T) {
	for _, test := range []struct {
		chunks []string
		want   []string // of each chunk, and at last of the end
	}{
		{[]string{"plain"}, []string{"plain", ""}},
		{[]string{"gr\xc3", "\xbcn"}, []string{"gr", "ün", ""}},
		{[]string{"\xe2", "\x82", "\xac"}, []string{"", "", "€", ""}},
		{[]string{"\xf0\x9f", "", "\x98\x80!"}, []string{"", "", "😀!", ""}},
		{[]string{"a\xe2\x82"}, []string{"a", "\ufffd\ufffd"}},
		{[]string{"a\xe2", "b"}, []string{"a", "\ufffdb", ""}},
		{[]string{"\xff\xfe\n"}, []string{"\ufffd\ufffd\n", ""}},
		{[]string{"a\x80\x80\x80\x80"}, []string{"a\ufffd\ufffd\ufffd\ufffd", ""}},
		{[]string{"\x00\x1b"}, []string{"\x00\x1b", ""}},
	} {
		var d Decoder
		for i, chunk := range test.chunks {
			if got := d.Decode([]byte(chunk)); got != test.want[i] {
				t.Errorf("%q: chunk %d gives %q, want %q", test.chunks, i, got, test.want[i])
			}
		}
		if got := d.Flush(); got != test.want[len(test.chunks)] {
			t.Errorf("%q: the end gives %q", test.chunks, got)
		}
	}
}

// However output is cut, the text is the same.
func FuzzDecoder(f *testing.F) {
	f.Add([]byte("gr\xc3\xbcn \xe2\x82\xac \xff\xf0\x9f\x98"), uint(3), uint(7))
	f.Fuzz(func(t *testing.T, data []byte, a, b uint) {
		n := uint(len(data)) + 1
		i, j := min(a%n, b%n), max(a%n, b%n)
		var d Decoder
		got := d.Decode(data[:i]) + d.Decode(data[i:j]) + d.Decode(data[j:]) + d.Flush()
		if got != Text(data) || !utf8.ValidString(got) {
			t.Errorf("%q cut at %d and %d gives %q, want %q", data, i, j, got, Text(data))
		}
	})
}

func TestClock(t *testing.T) {
	at := func(clock string) time.Time {
		when, err := time.Parse("15:04:05", clock)
		if err != nil {
			t.Fatal(err)
		}
		return time.Date(2024, 3, 5, when.Hour(), when.Minute(), when.Second(), when.Nanosecond(), time.UTC)
	}
	c := NewClock(at("11:59:50.2"))
	if got := c.Due(at("11:59:50.2")); got != nil {
		t.Fatalf("at the start: %v", got)
	}
	if next := c.Next(); !next.Equal(at("11:59:55")) {
		t.Fatalf("next at %v", next)
	}
	for _, test := range []struct{ now, want, next string }{
		{"11:59:54.999", "", "11:59:55"},
		{"11:59:55.001", "TICK_5 11:59:55", "12:00:00"},
		{"12:00:00", "TICK_5 12:00:00, TICK_60 12:00:00, TICK_3600 12:00:00", "12:00:05"},
		{"12:00:00.1", "", "12:00:05"},
		{"12:00:09.9", "TICK_5 12:00:05", "12:00:10"},                 // the loop was late
		{"12:03:21", "TICK_5 12:03:20, TICK_60 12:03:00", "12:03:25"}, // very late
	} {
		var got []string
		for _, e := range c.Due(at(test.now)) {
			seconds := strings.TrimPrefix(e.Payload, "when:")
			got = append(got, e.Type.String()+" "+clockOf(t, seconds))
		}
		if s := strings.Join(got, ", "); s != test.want {
			t.Errorf("at %s: %s, want %s", test.now, s, test.want)
		}
		if next := c.Next(); !next.Equal(at(test.next)) {
			t.Errorf("at %s: next at %v, want %s", test.now, next, test.next)
		}
	}
}

func clockOf(t *testing.T, seconds string) string {
	d, err := time.ParseDuration(seconds + "s")
	if err != nil {
		t.Fatal(err)
	}
	return time.Unix(int64(d/time.Second), 0).UTC().Format("15:04:05")
}

// A wall clock that is set loses no tick and makes none. The times here have no
// monotonic reading, so the jump is made in the clock's own memory.
func TestClockSet(t *testing.T) {
	start := time.Date(2024, 3, 5, 12, 0, 1, 0, time.UTC)
	for _, jump := range []time.Duration{24 * time.Hour, -24 * time.Hour, 3 * time.Second, -2 * time.Second, 1700 * time.Second} {
		c := NewClock(start)
		for i := range c.due { // as if Sub and Before knew the monotonic time
			c.due[i] = c.due[i].Add(jump)
		}
		wall := start.Add(jump)
		var at []time.Duration
		for elapsed := time.Duration(0); elapsed < time.Minute; elapsed += 100 * time.Millisecond {
			for _, e := range c.Due(wall.Add(elapsed)) {
				if e.Type != Tick5 {
					continue
				}
				at = append(at, elapsed)
				var when int64
				for _, digit := range strings.TrimPrefix(e.Payload, "when:") {
					when = when*10 + int64(digit-'0')
				}
				if when%5 != 0 || max(when-wall.Add(elapsed).Unix(), wall.Add(elapsed).Unix()-when) > 5 {
					t.Errorf("jump %v: when %d at %d", jump, when, wall.Add(elapsed).Unix())
				}
			}
		}
		if len(at) < 11 || len(at) > 12 || at[0] != 4*time.Second {
			t.Errorf("jump %v: ticks at %v", jump, at)
		}
		for i := 2; i < len(at); i++ {
			if at[i]-at[i-1] != 5*time.Second {
				t.Errorf("jump %v: ticks at %v", jump, at)
			}
		}
	}
}
