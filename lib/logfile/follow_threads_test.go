package logfile

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Many followers that end at once must not cost a thread each: threads stay for
// good.
func TestFollowersShareThreads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	threads := func() int {
		entries, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	before := threads()
	const followers = 100
	ctx, cancel := context.WithCancel(t.Context())
	var reading, ended sync.WaitGroup
	for range followers {
		reading.Add(1)
		ended.Go(func() {
			_ = Follow(ctx, path, 0, func([]byte) error { reading.Done(); return nil }, nil)
		})
	}
	reading.Wait()
	cancel()
	ended.Wait()
	if grown := threads() - before; grown > followers/4 {
		t.Errorf("%d followers have left %d threads", followers, grown)
	}
}
