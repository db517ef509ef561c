package state

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func snapshot() *Snapshot {
	return &Snapshot{
		Head:      Head{Version: Version, BootID: BootID(), Instance: "abc", Generation: 2, Runs: 7, Serial: 9},
		Groups:    [][]byte{[]byte(`{"Name":"g"}`)},
		Processes: [][]byte{[]byte(`{"group":"g","name":"a","state":20,"pid":5,"ticks":77}`), []byte(`{"group":"g","name":"b"}`)},
	}
}

func TestSaveAndLoad(t *testing.T) {
	dir, err := Open(filepath.Join(t.TempDir(), "x.state"))
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	if s, err := dir.Load(); s != nil || err != nil {
		t.Fatalf("an empty directory gives %v, %v", s, err)
	}
	if err := dir.Save(snapshot()); err != nil {
		t.Fatal(err)
	}
	s, err := dir.Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.Instance != "abc" || s.Runs != 7 || len(s.Groups) != 1 || len(s.Processes) != 2 || s.Processes[0].Ticks != 77 {
		t.Errorf("got %+v", s)
	}
	for _, name := range []string{"", "state", "lock"} {
		fi, err := os.Stat(filepath.Join(dir.Path(), name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%q is open to others: %v", name, fi.Mode())
		}
	}
	if err := dir.Forget(); err != nil {
		t.Fatal(err)
	}
	if s, err := dir.Load(); s != nil || err != nil {
		t.Errorf("after Forget: %v, %v", s, err)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.state")
	dir, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(path)
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != os.Getpid() {
		t.Fatalf("got %v", err)
	}
	dir.Close()
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
}

func TestUnusableStates(t *testing.T) {
	good, err := snapshot().Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, text string
		unusable   bool
	}{
		{"good", string(good), false},
		{"empty", "", true},
		{"torn", string(good[:len(good)/2]), true},
		{"not ours", "hello\n", true},
		{"a later version", strings.Replace(string(good), `"version":1`, `"version":99`, 1), true},
		{"a run that jumps", strings.Replace(string(good), `"runs":7`, `"runs":9223372036854775807`, 1), true},
		{"a negative run", strings.Replace(string(good), `"runs":7`, `"runs":-7`, 1), true},
		{"every process", strings.Replace(string(good), `"pid":5`, `"pid":-1`, 1), true},
		{"init", strings.Replace(string(good), `"pid":5`, `"pid":1`, 1), true},
		{"unknown fields", strings.Replace(string(good), `"version":1`, `"version":1,"colour":"red"`, 1), false},
		{"another life of the machine", strings.Replace(string(good), BootID(), "other", 1), false},
	}
	for _, test := range tests {
		s, err := Parse([]byte(test.text))
		if (err != nil) != test.unusable {
			t.Errorf("%s: error %v", test.name, err)
		}
		if err != nil && !strings.Contains(err.Error(), "state") {
			t.Errorf("%s: the error does not speak of the state: %v", test.name, err)
		}
		if test.name == "another life of the machine" && s != nil {
			t.Errorf("%s: taken over all the same", test.name)
		}
	}
}

func TestIdentity(t *testing.T) {
	ticks, zombie, err := Ticks(os.Getpid())
	if err != nil || zombie || ticks == 0 {
		t.Fatalf("Ticks = %d, %v, %v", ticks, zombie, err)
	}
	fd, err := Verify(os.Getpid(), ticks)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if _, err := Verify(os.Getpid(), ticks+1); !errors.Is(err, unix.ESRCH) {
		t.Errorf("another start time: %v", err)
	}
}

func FuzzParse(f *testing.F) {
	good, _ := snapshot().Append(nil)
	f.Add(good)
	f.Add([]byte("{}"))
	f.Add([]byte(`{"version":1,"processes":[{"pid":-1}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := Parse(text)
		if s != nil && err != nil {
			t.Error("both a state and an error")
		}
		if s == nil {
			return
		}
		for _, p := range s.Processes {
			if p.PID < 0 || p.PID == 1 {
				t.Errorf("pid %d", p.PID)
			}
		}
		if s.Runs < 0 || s.Runs+1 < 0 {
			t.Errorf("%d runs", s.Runs)
		}
	})
}

// What a daemon has put on record is there for the one after it, and for no
// other process than the one it is about.
func TestRecords(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	dir, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for run := range int64(recordCount + 10) {
		if err := dir.Note("often", run+1, 100+int(run)); err != nil {
			t.Fatal(err)
		}
	}
	last := int64(recordCount + 10)
	if err := dir.Note("once", last+1, 7); err != nil {
		t.Fatal(err)
	}
	if err := dir.Note("about to", last+2, 0); err != nil {
		t.Fatal(err)
	}
	dir.Close()
	again, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	tests := []struct {
		process string
		want    Started
		known   bool
	}{
		{"often", Started{last, 100 + int(last) - 1}, true},
		{"once", Started{last + 1, 7}, true},
		{"about to", Started{last + 2, 0}, true},
		{"never", Started{}, false},
	}
	for _, test := range tests {
		if got, known := again.LatestRun(test.process); got != test.want || known != test.known {
			t.Errorf("%s: %v, %v", test.process, got, known)
		}
	}
	if _, err := Open(path); !strings.Contains(fmt.Sprint(err), fmt.Sprintf("pid %d", os.Getpid())) {
		t.Errorf("the owner is not told: %v", err)
	}
}
