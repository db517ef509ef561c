package hurry

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// nices are the nice values of all threads of this process, with their numbers.
func nices(t *testing.T) map[int]int {
	t.Helper()
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]int{}
	for _, thread := range threads {
		text, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		nice, err := strconv.Atoi(strings.Fields(rest)[16])
		if err != nil {
			t.Fatal(err)
		}
		found[nice]++
	}
	return found
}

// Only the thread that is in a hurry gets its priority, not those that are made
// meanwhile, and nothing of it is left.
func TestBegin(t *testing.T) {
	before, procs := nices(t), runtime.GOMAXPROCS(0)
	if len(before) != 1 {
		t.Fatalf("the threads differ before: %v", before)
	}
	end := Begin()
	// Each of these needs a thread.
	stop, running := make(chan struct{}), make(chan struct{})
	for range 5 {
		go func() {
			runtime.LockOSThread()
			running <- struct{}{}
			<-stop
		}()
	}
	for range 5 {
		<-running
	}
	fast := 0
	for nice, n := range nices(t) {
		if before[nice] == 0 {
			fast += n
		}
	}
	want := 1
	if unix.Geteuid() != 0 {
		want = fast // it may not be allowed
	}
	if fast != want || fast > 1 {
		t.Errorf("%d threads go first, want %d", fast, want)
	}
	end()
	close(stop)
	if after := nices(t); len(after) != 1 {
		t.Errorf("the threads differ afterwards: %v", after)
	}
	if n := runtime.GOMAXPROCS(0); n != procs {
		t.Errorf("GOMAXPROCS is %d, was %d", n, procs)
	}
}
