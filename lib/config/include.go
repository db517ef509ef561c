package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"sup/lib/expand"
	"sup/lib/value"
)

// Reading says how Read is to read.
type Reading struct {
	// File is the main file.
	File string
	// Text is what it says, if that was read before: a pipe can be read once.
	Text *string
	// Dir is what relative paths are relative to, "" for the current
	// directory.
	Dir string
	// Includes tells whether [include] is acted on. The client leaves it.
	Includes bool
	// Wanted tells which sections the caller will ask for; nil stands for
	// all. Those that it does not name are checked for their form, but have
	// no entries.
	Wanted func(section string) bool
	// Env is the environment that expressions may refer to.
	Env map[string]string
	// AnyEnv takes variables that are not set for right; what [include] names with
	// one cannot be read then.
	AnyEnv bool
	// Host is the name of the machine.
	Host string
}

// Read reads the main file and, if asked to, those it includes. It always
// returns a document; what is wrong is in its Problems.
func Read(how Reading) *Document {
	d := newDocument()
	d.wanted = how.Wanted
	d.File = how.File
	if !filepath.IsAbs(d.File) {
		dir := how.Dir
		if dir == "" {
			dir = WorkingDir()
		}
		d.File = joinPath(dir, d.File)
	}
	// The file is opened as it was named: folding ".." would go another
	// way than the system where a link is crossed.
	named := d.File
	d.File = value.CleanPath(d.File)
	d.Here, _ = splitPath(d.File)
	d.Files = []string{d.File}
	text, err := "", (*Problem)(nil)
	if how.Text != nil {
		text = *how.Text
	} else if text, err = readMain(named); err != nil {
		d.problem(err)
		return d
	}
	d.text = len(text)
	d.ReadText(d.File, text)
	if how.Includes {
		d.include(how)
	}
	d.checkDefaults()
	return d
}

// readMain reads the main file, which may be a pipe.
func readMain(file string) (string, *Problem) {
	st, err := os.Stat(file)
	if err != nil {
		return "", (&Problem{
			Code:    CodeNoSuchFile,
			Message: "cannot find the configuration file: " + reason(err),
		}).at(Pos{File: file})
	}
	text := ""
	if st.Mode().IsRegular() {
		text, err = readQuietly(file)
	} else {
		text, err = readStream(file)
	}
	if err != nil {
		return "", (&Problem{
			Code:    CodeUnreadableFile,
			Message: "cannot read the configuration file: " + reason(err),
		}).at(Pos{File: file})
	}
	return text, nil
}

// ReadPipe reads a main file that can be read only once: a pipe, or a terminal. The
// text is nil for one that can be read again, or not at all.
func ReadPipe(file string) (text *string, err error) {
	st, err := os.Stat(file)
	if err != nil || st.Mode().IsRegular() || st.IsDir() {
		return nil, nil
	}
	s, err := readStream(file)
	if err != nil {
		return nil, (&Problem{
			Code:    CodeUnreadableFile,
			Message: "cannot read the configuration file: " + reason(err),
		}).at(Pos{File: file})
	}
	return &s, nil
}

// readQuietly reads a file, and does not wait for what comes later.
func readQuietly(file string) (string, error) {
	fd, err := openQuietly(file)
	if err != nil {
		return "", err
	}
	defer unix.Close(fd)
	return readAll(fd, 0, maxText)
}

// readStream reads to the end of a pipe.
func readStream(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxText+1))
	if err == nil && len(b) > maxText {
		err = errTooLong
	}
	return string(b), err
}

// reason is what a system call said, without the path.
func reason(err error) string {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err.Error()
	}
	return err.Error()
}

// hereText is the one spelling that is replaced in the text of values when
// files are included.
const hereText = "%(here)s"

// include reads the files that [include] names, and replaces %(here)s in all
// values by the directory of the file they stand in.
func (d *Document) include(how Reading) {
	s := d.Section("include")
	if s == nil {
		return
	}
	d.fixHere(d.Here)
	e := s.Get("files")
	if e == nil {
		d.problem((&Problem{
			Code:    CodeIncludeWithoutFiles,
			Section: s.Name,
			Message: "the section has no key files",
			Hint:    "write files = *.conf, or remove the section",
		}).at(s.Pos).near("files", s, Schema(KindInclude)))
		return
	}
	names := &Names{Env: how.Env, AnyEnv: how.AnyEnv, Here: d.Here, Host: how.Host, Known: NamesInclude}
	files, err := expand.Expand(e.Value, names.Lookup)
	if err != nil {
		d.problem(expansionProblem(s, e, names, err))
		return
	}
	if names.missed {
		return
	}
	g := &globber{left: globSteps}
	for pattern := range strings.FieldsFuncSeq(files, value.IsSpace) {
		pattern = joinPath(d.Here, pattern)
		paths, err := g.glob(pattern)
		if err != nil {
			d.problem(includeProblem(CodeTooLarge, s, e, pattern, err.Error()+": "+quoteShort(pattern), "name the directory more closely"))
			return
		}
		if len(paths) == 0 {
			hint := "put a file there, or correct the pattern"
			if strings.ContainsAny(pattern, `"'`) {
				hint = "quotation marks are part of the name here; remove them"
			}
			p := includeProblem(CodeIncludeMatchesNothing, s, e, pattern, "no file matches "+quoteShort(pattern), hint)
			p.Severity = SeverityWarning
			d.problem(p)
		}
		for _, path := range paths {
			d.includeFile(s, e, path)
			if d.over {
				return
			}
		}
	}
}

// includeFile reads one file that [include] names.
func (d *Document) includeFile(s *Section, e *Entry, path string) {
	if len(d.Files) >= maxFiles {
		d.problem(includeProblem(CodeTooLarge, s, e, path, fmt.Sprintf("these are more than %d files", maxFiles), "name fewer files"))
		return
	}
	text, ok, err := readRegular(path, maxText-d.text)
	switch {
	case errors.Is(err, errTooLong):
		d.problem(includeProblem(CodeTooLarge, s, e, path,
			fmt.Sprintf("cannot include %s: the configuration is larger than %s with it", quoteShort(path), bytesText(maxText)), "leave the file out"))
		return
	case err != nil:
		d.problem(includeProblem(CodeUnreadableFile, s, e, path,
			fmt.Sprintf("cannot include %s: %s", quoteShort(path), reason(err)), "leave it out of the pattern"))
		return
	case !ok:
		return
	}
	d.text += len(text)
	d.Files = append(d.Files, path)
	d.ReadText(path, text)
	dir, _ := splitPath(path)
	d.fixHere(value.CleanPath(dir))
}

// includeProblem is a problem with the key files of [include].
func includeProblem(code string, s *Section, e *Entry, path, message, hint string) *Problem {
	return (&Problem{Code: code, Section: s.Name, Key: "files", Value: path, Message: message, Hint: hint}).at(e.Pos)
}

// fixHere replaces %(here)s in the values read since the last call.
func (d *Document) fixHere(here string) {
	for _, e := range d.withHere {
		e.Value = strings.ReplaceAll(e.Value, hereText, here)
	}
	d.withHere = d.withHere[:0]
	// A value from [DEFAULT] is fixed for the sections there are by now.
	for _, def := range d.Defaults.Entries {
		if !strings.Contains(def.Value, hereText) {
			continue
		}
		if d.checks += len(d.Sections); d.checks > maxDefaults {
			d.problem(tooLarge(def.Pos, "%s stands in too many values of [DEFAULT] for so many sections and files", hereText))
			return
		}
		for _, s := range d.Sections {
			if s.Own(def.Key) == nil {
				if !d.spendLine(def.Pos) {
					return
				}
				e := *def
				e.Value = strings.ReplaceAll(def.Value, hereText, here)
				e.FromDefault = true
				s.put(&e)
			}
		}
	}
}
