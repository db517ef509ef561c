package logwire

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

var full = Settings{
	Name: "foo:bar stdout", Path: "/var/log/foo.log", Mode: 0o600, MaxBytes: 50 << 20, Backups: 10, StripANSI: true,
	Events: true, CaptureMax: 1 << 40, Syslog: true, SyslogTag: "supd", SyslogPrefix: "bar ", OnFull: Block,
	SyslogFacility: 16, More: "/b.log\x00|cat\x00",
	Timestamp: true, Prefix: "bar", Rotate: RotateDaily, Dated: true, Compress: true, MaxAgeDays: 30,
}

func samples() []Message {
	return []Message{
		{Kind: Hello, PID: 4711, N: Version, Count: 3, Held: 2},
		{Kind: Open, Stream: 1, Seq: 7, PID: 12, Settings: full},
		{Kind: Open, Stream: 2},
		{Kind: Set, Stream: 2, Settings: Settings{Backups: -1}},
		{Kind: Run, Stream: 0xffffffff, PID: 99},
		{Kind: Reopen, Stream: 1, Seq: 0xffffffff},
		{Kind: Data, Stream: 1, PID: 3, More: true, Data: []byte("some output\n\x00\xff")},
		{Kind: Comm, Stream: 1, Data: []byte{}},
		{Kind: Failed, Stream: 4, Seq: 5, Text: "cannot open", Errno: unix.EACCES},
		{Kind: Error, Stream: 4, Condition: Dropped, N: 1 << 63},
		{Kind: Held, Text: "pidfd 12"},
		{Kind: Stop},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, want := range samples() {
		var got Message
		if err := Parse(Append(nil, &want), &got); err != nil {
			t.Errorf("%s: %v", want.Kind, err)
		} else if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", want.Kind, got, want)
		}
	}
}

func TestUnknownFieldsAreIgnored(t *testing.T) {
	b := Append(nil, &Message{Kind: Run, Stream: 1, PID: 5})
	b = append(b, 200, 9)
	b = append(b, 201, 2, 'x', 'y')
	var m Message
	if err := Parse(b, &m); err != nil || m.PID != 5 {
		t.Errorf("got %+v, %v", m, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, m := range samples() {
		f.Add(Append(nil, &m))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var m, again Message
		if Parse(b, &m) != nil || m.Kind >= kinds {
			return
		}
		enc := Append(nil, &m)
		if err := Parse(enc, &again); err != nil {
			t.Fatalf("%x: what was parsed is encoded as %x: %v", b, enc, err)
		}
		if enc2 := Append(nil, &again); !bytes.Equal(enc, enc2) {
			t.Fatalf("%x: encoded as %x and then as %x", b, enc, enc2)
		}
	})
}

// pair gives both ends of a wire as connections.
func pair(t testing.TB) (*Conn, *Conn) {
	t.Helper()
	a, f, err := Pair()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewConn(fd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

func TestDescriptorsTravel(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := a.Send(&Message{Kind: Open, Stream: 9, Settings: full, FDs: []int{int(r.Fd())}}); err != nil {
		t.Fatal(err)
	}
	r.Close()
	var m Message
	if err := b.Receive(&m); err != nil {
		t.Fatal(err)
	}
	if len(m.FDs) != 1 || m.Settings != full {
		t.Fatalf("got %+v", m)
	}
	if flags, _ := unix.FcntlInt(uintptr(m.FDs[0]), unix.F_GETFD, 0); flags&unix.FD_CLOEXEC == 0 {
		t.Error("the descriptor is not close-on-exec")
	}
	got := os.NewFile(uintptr(m.FDs[0]), "got")
	defer got.Close()
	io.WriteString(w, "x")
	buf := make([]byte, 2)
	if n, err := got.Read(buf); n != 1 || err != nil {
		t.Errorf("read %d, %v", n, err)
	}
}

func TestLongDataComesInParts(t *testing.T) {
	a, b := pair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), 20<<10)
	sent := make(chan error, 1)
	go func() { sent <- a.Send(&Message{Kind: Data, Stream: 1, PID: 7, Data: want}) }()
	var got []byte
	for {
		var m Message
		if err := b.Receive(&m); err != nil {
			t.Fatal(err)
		}
		if m.Kind != Data || m.PID != 7 {
			t.Fatalf("got %+v", m)
		}
		got = append(got, m.Data...)
		if !m.More {
			break
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ from the %d sent", len(got), len(want))
	}
}

// Messages that share a datagram come one by one, in their order, whatever is
// among them.
func TestSendAll(t *testing.T) {
	a, b := pair(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	small := func(i int) *Message { return &Message{Kind: Data, Stream: Stream(i), Data: []byte{byte(i)}} }
	want := []*Message{
		small(0), small(1), {Kind: Drained, Stream: 2, Seq: 9}, {Kind: Data, Stream: 3, Data: make([]byte, 200<<10)},
		small(4), {Kind: Keep, Stream: 5, FDs: []int{int(r.Fd())}}, small(6), {Kind: Comm, Stream: 7, Data: make([]byte, 40<<10)},
		{Kind: Comm, Stream: 8, Data: make([]byte, 40<<10)}, {Kind: Data, Stream: 9},
	}
	if n, err := a.SendAll(want, false); n != 3 || err != unix.EAGAIN {
		t.Fatalf("sent %d, %v; what comes in parts may take a while", n, err)
	}
	sent := make(chan error, 1)
	go func() {
		n, err := a.SendAll(want[3:], true)
		if n != len(want)-3 && err == nil {
			t.Errorf("sent %d", n)
		}
		sent <- err
	}()
	for _, m := range want {
		size := 0
		for {
			var got Message
			if err := b.Receive(&got); err != nil {
				t.Fatal(err)
			}
			size += len(got.Data)
			if got.Kind != m.Kind || got.Stream != m.Stream || got.Seq != m.Seq || len(got.FDs) != len(m.FDs) {
				t.Fatalf("got %+v, want %+v", got, m)
			}
			CloseFDs(got.FDs)
			if !got.More {
				break
			}
		}
		if size != len(m.Data) {
			t.Errorf("stream %d: %d bytes, want %d", m.Stream, size, len(m.Data))
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if b.More() {
		t.Error("there is more")
	}
}

// A peer whose queue is full is not waited for unless that is wanted.
func TestSendAllDoesNotWait(t *testing.T) {
	a, b := pair(t)
	m := &Message{Kind: Data, Data: make([]byte, 50<<10)}
	sent := 0
	for {
		n, err := a.SendAll([]*Message{m}, false)
		if err != nil {
			if !errors.Is(err, unix.EAGAIN) {
				t.Fatal(err)
			}
			break
		}
		sent += n
	}
	for range sent {
		var got Message
		if err := b.Receive(&got); err != nil || len(got.Data) != len(m.Data) {
			t.Fatalf("%d bytes, %v", len(got.Data), err)
		}
	}
}

func TestMalformedSeveral(t *testing.T) {
	a, b := pair(t)
	head := make([]byte, headerLen)
	head[0] = byte(several)
	for _, rest := range []string{"\x01", "\x05\x00abc", "\x02\x00ab"} {
		a.sendBuf = append(bytes.Clone(head), rest...)
		if err := a.sendBytes(nil, true); err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := b.Receive(&m); err != ErrMalformed || b.More() {
			t.Errorf("%q: got %+v, %v", rest, m, err)
		}
	}
	if err := a.Send(&Message{Kind: Stop}); err != nil {
		t.Fatal(err)
	}
	var m Message
	if err := b.Receive(&m); err != nil || m.Kind != Stop {
		t.Errorf("got %+v, %v", m, err)
	}
}

func TestEndOfConnection(t *testing.T) {
	a, b := pair(t)
	a.Close()
	var m Message
	if err := b.Receive(&m); err != io.EOF {
		t.Errorf("got %v", err)
	}
	if err := b.Send(&Message{Kind: Drained}); err == nil {
		t.Error("sending to nobody succeeds")
	}
}

func TestListenDial(t *testing.T) {
	for _, name := range []string{"keeper.sock", strings.Repeat("long/", 30) + "keeper.sock"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		l, err := Listen(path)
		if err != nil {
			t.Fatal(err)
		}
		if !IsListening(int(l.File().Fd())) {
			t.Error("not listening")
		}
		if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode %v, %v", fi.Mode(), err)
		}
		c, err := Dial(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Send(&Message{Kind: Hello, N: Version}); err != nil {
			t.Fatal(err)
		}
		var m Message
		if err := s.Receive(&m); err != nil || m.Kind != Hello {
			t.Errorf("got %+v, %v", m, err)
		}
		c.Close()
		s.Close()
		l.Close()
	}
}

func BenchmarkSendReceive(b *testing.B) {
	a, c := pair(b)
	msg := Message{Kind: Data, Stream: 1, PID: 7, Data: make([]byte, 1000)}
	b.ReportAllocs()
	for b.Loop() {
		if err := a.Send(&msg); err != nil {
			b.Fatal(err)
		}
		var m Message
		if err := c.Receive(&m); err != nil {
			b.Fatal(err)
		}
	}
}
