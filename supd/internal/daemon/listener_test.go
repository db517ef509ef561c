package daemon

import (
	"os"
	"testing"
)

// TestReadRest: what a listener says comes in one piece with the READY after
// it, and no further.
func TestReadRest(t *testing.T) {
	for _, test := range []struct{ first, rest, want string }{
		{"RESULT 2\nOK", "READY\n", "RESULT 2\nOKREADY\n"},
		{"READY\n", "RESULT 2\nOK", "READY\n"},
		{"RESULT 2\nOK", "", "RESULT 2\nOK"},
	} {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.WriteString(test.rest); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 64)
		n := copy(buf, test.first)
		n += readRest(r, buf, n)
		if got := string(buf[:n]); got != test.want {
			t.Errorf("%q and %q: got %q", test.first, test.rest, got)
		}
		r.Close()
		w.Close()
	}
}
