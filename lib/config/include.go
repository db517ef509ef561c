package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"sup/lib/expand"
	"sup/lib/value"
)

// Reading says how Read is to read.
type Reading struct {
	// File is the main file.
	File string
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
	text, err := readMain(named)
	if err != nil {
		d.Problems = append(d.Problems, err)
		return d
	}
	d.ReadText(d.File, text)
	if how.Includes {
		d.include(how)
	}
	return d
}

// readMain reads the main file, which may be a pipe.
func readMain(file string) (string, *Problem) {
	if _, err := os.Stat(file); err != nil {
		return "", (&Problem{
			Code:    CodeNoSuchFile,
			Message: "cannot find the configuration file: " + reason(err),
		}).at(Pos{File: file})
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return "", (&Problem{
			Code:    CodeUnreadableFile,
			Message: "cannot read the configuration file: " + reason(err),
		}).at(Pos{File: file})
	}
	return string(b), nil
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
		d.Problems = append(d.Problems, (&Problem{
			Code:    CodeIncludeWithoutFiles,
			Section: s.Name,
			Message: "the section has no key files",
			Hint:    "write files = *.conf, or remove the section",
		}).at(s.Pos).near("files", s, Schema(KindInclude)))
		return
	}
	names := &Names{Env: how.Env, Here: d.Here, Host: how.Host, Known: NamesInclude}
	files, err := expand.Expand(e.Value, names.Lookup)
	if err != nil {
		d.Problems = append(d.Problems, expansionProblem(s, e, names, err))
		return
	}
	for _, pattern := range value.Fields(files) {
		pattern = joinPath(d.Here, pattern)
		paths := glob(pattern)
		if len(paths) == 0 {
			p := &Problem{
				Severity: SeverityWarning,
				Code:     CodeIncludeMatchesNothing,
				Section:  s.Name,
				Key:      "files",
				Value:    pattern,
				Message:  "no file matches " + quoteShort(pattern),
			}
			p.Hint = "put a file there, or correct the pattern"
			if strings.ContainsAny(pattern, `"'`) {
				p.Hint = "quotation marks are part of the name here; remove them"
			}
			d.Problems = append(d.Problems, p.at(e.Pos))
		}
		for _, path := range paths {
			text, ok := readIncluded(path)
			if !ok {
				continue
			}
			d.Files = append(d.Files, path)
			d.ReadText(path, text)
			dir, _ := splitPath(path)
			d.fixHere(value.CleanPath(dir))
		}
	}
}

// readIncluded reads a regular file; what cannot be opened is passed over.
func readIncluded(path string) (string, bool) {
	// A pipe or a device could keep us waiting for ever.
	st, err := os.Stat(path)
	if err != nil || !st.Mode().IsRegular() {
		return "", false
	}
	f, err := os.Open(path)
	if err != nil {
		return "", false
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return string(b), err == nil
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
		for _, s := range d.Sections {
			if s.Own(def.Key) == nil {
				e := *def
				e.Value = strings.ReplaceAll(def.Value, hereText, here)
				e.FromDefault = true
				s.put(&e)
			}
		}
	}
}
