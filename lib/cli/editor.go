package cli

import (
	"context"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// Editor reads lines that are edited on a terminal, with history and
// completion. The terminal is in raw mode only while a line is read. It is for
// use by one goroutine at a time.
type Editor struct {
	in       *Input
	tty, out *os.File
	// shown is out, through a dumbWriter where need be.
	shown    io.Writer
	terminal *term.Terminal
	history  *History
	complete Completer
	// ctx and prompt are those of the call under way.
	ctx    context.Context
	prompt string
	// tabbed is the line at which TAB found several ways to go on; a second
	// TAB there lists them.
	tabbed string
}

// Completer returns the words that could stand where word, the last one of
// before (the line up to the cursor), stands. Each begins with word.
type Completer func(before, word string) []string

// NewEditor makes an editor on a terminal. in reads from tty; out is where the
// terminal shows what is typed. complete may be nil.
func NewEditor(in *Input, tty, out *os.File, complete Completer) *Editor {
	e := &Editor{in: in, tty: tty, out: out, complete: complete, history: &History{}, shown: out}
	if isDumb() {
		e.shown = &dumbWriter{w: out}
	}
	e.terminal = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{readerFunc(e.read), e.shown}, "")
	e.terminal.History = e.history
	e.terminal.AutoCompleteCallback = e.key
	return e
}

// noTab is no line.
const noTab = "\n"

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func (e *Editor) read(p []byte) (int, error) { return e.in.read(e.ctx, p) }

// History returns the lines typed so far.
func (e *Editor) History() *History { return e.history }

// ReadLine shows a prompt and reads a line, which goes into the history if
// remember is set. The error is io.EOF at the end of input, and also after
// Ctrl-C.
func (e *Editor) ReadLine(ctx context.Context, prompt string, remember bool) (string, error) {
	return e.raw(ctx, func() (string, error) {
		e.history.closed = !remember
		e.prompt = prompt
		e.terminal.SetPrompt(prompt)
		return e.terminal.ReadLine()
	})
}

// ReadPassword shows a prompt and reads a line that is not shown.
func (e *Editor) ReadPassword(ctx context.Context, prompt string) (string, error) {
	return e.raw(ctx, func() (string, error) { return e.terminal.ReadPassword(prompt) })
}

// raw runs f with the terminal in raw mode.
func (e *Editor) raw(ctx context.Context, f func() (string, error)) (string, error) {
	state, err := term.MakeRaw(int(e.tty.Fd()))
	if err != nil {
		return "", err
	}
	defer term.Restore(int(e.tty.Fd()), state)
	width, height, err := term.GetSize(int(e.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	if e.shown != io.Writer(e.out) {
		width = dumbWidth
	}
	if err := e.terminal.SetSize(width, height); err != nil {
		return "", err
	}
	e.ctx, e.tabbed = ctx, noTab
	return f()
}

// key is called for every key. It acts on TAB alone, and never replaces the
// line: what is to be inserted goes the way of typed text, so that nothing is
// redrawn.
func (e *Editor) key(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' || e.complete == nil {
		return "", 0, false
	}
	before := line[:pos]
	word := before[strings.LastIndexAny(before, " \t")+1:]
	candidates := e.complete(before, word)
	more := strings.TrimPrefix(commonPrefix(candidates), word)
	if len(candidates) == 1 {
		more += " "
	}
	e.in.insert(more)
	if len(candidates) != 1 && more == "" {
		if len(candidates) > 0 && e.tabbed == before {
			e.list(candidates, line, pos)
			return "", 0, false
		}
		io.WriteString(e.shown, "\a")
		e.tabbed = before
	}
	return "", 0, false
}

// list shows words below the line, and the line again below them.
func (e *Editor) list(words []string, line string, pos int) {
	width := e.width()
	columns := choices(words, width)
	if pos < len(line) || utf8.RuneCountInString(e.prompt+line) >= width {
		// The terminal knows how to redraw what is not plain.
		io.WriteString(e.terminal, columns)
		return
	}
	io.WriteString(e.shown, "\r\n"+strings.ReplaceAll(columns, "\n", "\r\n")+e.prompt+line)
}

func (e *Editor) width() int {
	width, _, err := term.GetSize(int(e.out.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

func commonPrefix(words []string) string {
	if len(words) == 0 {
		return ""
	}
	prefix := words[0]
	for _, w := range words[1:] {
		for !strings.HasPrefix(w, prefix) {
			_, size := utf8.DecodeLastRuneInString(prefix)
			prefix = prefix[:len(prefix)-size]
		}
	}
	return prefix
}

// choices lists words as readline does: sorted down the columns, each followed
// by the blank that completes it and by two more to keep the columns apart.
func choices(words []string, width int) string {
	sorted := slices.Sorted(slices.Values(words))
	widest := 0
	for _, w := range sorted {
		widest = max(widest, utf8.RuneCountInString(w))
	}
	widest += len("   ")
	perLine := max(1, width/widest)
	if perLine > 1 && perLine*widest == width {
		perLine-- // or the terminal would begin a line of its own
	}
	rows := (len(sorted) + perLine - 1) / perLine
	var b strings.Builder
	for row := range rows {
		for i := row; i < len(sorted); i += rows {
			b.WriteString(sorted[i])
			b.WriteString(strings.Repeat(" ", widest-utf8.RuneCountInString(sorted[i])))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// Columns arranges words in as many columns as fit into width, sorted down
// the columns. It ends with a newline.
func Columns(words []string, width int) string {
	widest := 0
	for _, w := range words {
		widest = max(widest, utf8.RuneCountInString(w))
	}
	perLine := max(1, (width+2)/(widest+2))
	rows := (len(words) + perLine - 1) / perLine
	var b strings.Builder
	for row := range rows {
		for i := row; i < len(words); i += rows {
			b.WriteString(words[i])
			if i+rows < len(words) {
				b.WriteString(strings.Repeat(" ", widest+2-utf8.RuneCountInString(words[i])))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}
