package systemd

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestNotify(t *testing.T) {
	for _, path := range []string{filepath.Join(t.TempDir(), "notify"), "@supd-test-" + strconv.Itoa(os.Getpid())} {
		manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		defer manager.Close()
		t.Setenv("NOTIFY_SOCKET", path)
		n, err := NewNotifier()
		if err != nil || n == nil {
			t.Fatalf("NewNotifier with %q: %v, %v", path, n, err)
		}
		defer n.Close()
		const want = "READY=1\nSTATUS=all is well"
		if err := n.Send(want); err != nil {
			t.Fatal(err)
		}
		var text [100]byte
		got, err := manager.Read(text[:])
		if err != nil || string(text[:got]) != want {
			t.Errorf("the manager got %q, %v", text[:got], err)
		}
	}
}

func TestNobodyToNotify(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if n, err := NewNotifier(); n != nil || err != nil {
		t.Errorf("without a manager: %v, %v", n, err)
	}
	t.Setenv("NOTIFY_SOCKET", "somewhere")
	if n, err := NewNotifier(); n != nil || err == nil {
		t.Errorf("with a bad name: %v, %v", n, err)
	}
}

func TestWatchdog(t *testing.T) {
	self := strconv.Itoa(os.Getpid())
	for _, c := range []struct {
		pid, usec string
		want      time.Duration
	}{
		{"", "", 0},
		{"", "30000000", 30 * time.Second},
		{self, "500000", 500 * time.Millisecond},
		{"1", "500000", 0},
		{self, "-1", 0},
		{self, "9999999999999999999", 0},
		{self, "9223372036854775807", 0},
		{self, "soon", 0},
	} {
		t.Setenv("WATCHDOG_PID", c.pid)
		t.Setenv("WATCHDOG_USEC", c.usec)
		if got := Watchdog(); got != c.want {
			t.Errorf("WATCHDOG_PID=%s WATCHDOG_USEC=%s: %v, want %v", c.pid, c.usec, got, c.want)
		}
	}
}

func TestSocketsOfOthers(t *testing.T) {
	for _, c := range [][2]string{{"", "1"}, {"1", "1"}, {strconv.Itoa(os.Getpid()), "none"}, {strconv.Itoa(os.Getpid()), "0"}} {
		t.Setenv("LISTEN_PID", c[0])
		t.Setenv("LISTEN_FDS", c[1])
		if files := Sockets(); len(files) != 0 {
			t.Errorf("LISTEN_PID=%s LISTEN_FDS=%s: %d sockets", c[0], c[1], len(files))
		}
		if _, there := os.LookupEnv("LISTEN_FDS"); there {
			t.Error("LISTEN_FDS is still in the environment")
		}
	}
}

func TestReloading(t *testing.T) {
	text := Reloading()
	rest, ok := strings.CutPrefix(text, "RELOADING=1\nMONOTONIC_USEC=")
	if usec, err := strconv.ParseInt(rest, 10, 64); !ok || err != nil || usec <= 0 {
		t.Errorf("Reloading() is %q", text)
	}
}
