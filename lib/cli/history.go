package cli

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// historyMax is the number of lines that are kept.
const historyMax = 1000

// History is the list of lines typed in a shell. It is what term.History asks
// for.
type History struct {
	lines []string
	// closed lets lines pass by: answers to questions are no commands.
	closed bool
}

// Add appends a line, unless it is empty or the last one again.
func (h *History) Add(line string) {
	if h.closed || strings.TrimSpace(line) == "" {
		return
	}
	if n := len(h.lines); n > 0 && h.lines[n-1] == line {
		return
	}
	h.lines = append(h.lines, line)
	if len(h.lines) > historyMax {
		h.lines = h.lines[len(h.lines)-historyMax:]
	}
}

// Len returns the number of lines.
func (h *History) Len() int { return len(h.lines) }

// At returns a line, counted from the youngest, which is 0.
func (h *History) At(i int) string { return h.lines[len(h.lines)-1-i] }

// Load appends the lines of a file, one command each.
func (h *History) Load(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewScanner(f)
	for in.Scan() {
		h.Add(in.Text())
	}
	return in.Err()
}

// Save replaces the file by the lines. Only its owner can read it.
func (h *History) Save(path string) error {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".history-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	w := bufio.NewWriter(f)
	for _, line := range h.lines {
		w.WriteString(line)
		w.WriteByte('\n')
	}
	if err := w.Flush(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
