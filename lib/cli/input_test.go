package cli

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestInputReadLine(t *testing.T) {
	ctx := context.Background()
	for _, tt := range []struct {
		input string
		want  []string
	}{
		{"", nil},
		{"a\nb\n", []string{"a", "b"}},
		{"a\r\nb\r\n", []string{"a", "b"}},
		{"a\rb\r", []string{"a", "b"}},
		{"a\n\nb", []string{"a", "", "b"}},
		{"\r\n\r\nx", []string{"", "", "x"}},
	} {
		for _, src := range []io.Reader{strings.NewReader(tt.input), oneByte{strings.NewReader(tt.input)}} {
			in := NewInput(src)
			var got []string
			for {
				line, err := in.ReadLine(ctx)
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, line)
			}
			if strings.Join(got, "|") != strings.Join(tt.want, "|") || len(got) != len(tt.want) {
				t.Errorf("%q: got %q, want %q", tt.input, got, tt.want)
			}
		}
	}
}

// oneByte reads a byte at a time.
type oneByte struct{ io.Reader }

func (r oneByte) Read(p []byte) (int, error) { return r.Reader.Read(p[:min(1, len(p))]) }

// Who gives up waiting must not take away what comes later.
func TestInputGivenUp(t *testing.T) {
	r, w := io.Pipe()
	in := NewInput(r)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := in.ReadLine(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	go func() { io.WriteString(w, "late\n"); w.Close() }()
	line, err := in.ReadLine(context.Background())
	if err != nil || line != "late" {
		t.Errorf("got %q, %v", line, err)
	}
	if _, err := in.ReadLine(context.Background()); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestInputRead(t *testing.T) {
	in := NewInput(strings.NewReader("sta\tx\r\ny"))
	var got []string
	p := make([]byte, 100)
	for {
		n, err := in.read(context.Background(), p)
		if err != nil {
			break
		}
		got = append(got, string(p[:n]))
		if string(p[:n]) == "\t" {
			in.insert("tus ")
		}
	}
	if s := strings.Join(got, "|"); s != "sta|\t|tus x|\r|\n|y" {
		t.Errorf("got %q", s)
	}
}
