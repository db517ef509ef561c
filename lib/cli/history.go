package cli

import (
	"strings"

	"sup/lib/safepath"
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

// historySize bounds the file that is read, in bytes.
const historySize = 8 << 20

// Load appends the lines of a file, one command each.
func (h *History) Load(path string) error {
	text, err := safepath.ReadFile(path, historySize)
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(text)) {
		h.Add(strings.TrimRight(line, "\r\n"))
	}
	return nil
}

// Save replaces the file by the lines. Only its owner can read it.
func (h *History) Save(path string) error {
	var text strings.Builder
	for _, line := range h.lines {
		text.WriteString(line)
		text.WriteByte('\n')
	}
	return safepath.Replace(path, []byte(text.String()), 0o600)
}
