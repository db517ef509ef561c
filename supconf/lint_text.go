package main

import (
	"slices"
	"strings"

	"sup/lib/config"
	"sup/lib/value"
)

// codeCut is the code of a value that a comment inside of quotes cuts.
const codeCut = "comment-in-quotes"

// notes warns of what reading saw: repeats, and comments inside of quotes.
func (l *linter) notes() {
	for _, n := range l.doc.Notes {
		w := where{pos: n.Pos, section: n.Section, key: n.Key}
		switch n.Kind {
		case config.NoteRepeatedKey:
			if n.Earlier.Line < n.Pos.Line {
				l.warn("repeated-key", w, "remove one of the two",
					"it replaces the value of line %d", n.Earlier.Line)
			}
		case config.NoteRepeatedSection:
			if n.Earlier.File != n.Pos.File || n.Earlier.Line < n.Pos.Line {
				l.warn("repeated-section", w, "put the keys of both into one",
					"the section goes on with what stands in line %d", n.Earlier.Line)
			}
		case config.NoteCut:
			if n.Key == "roles" {
				l.warn("roles-cut", w, `write the ";" right behind the rule before it, without a blank`,
					"the value ends before %q, which is taken for a comment", n.Text)
				continue
			}
			l.warn(codeCut, w, `quotation marks do not protect a ";" or "#" after a blank; leave the blank out, or put the command into a script`,
				"the value ends before %q, which is taken for a comment", n.Text)
		}
	}
}

// sections looks at each section and key as it is written.
func (l *linter) sections() {
	for _, s := range l.doc.Sections {
		kind, known := config.KindOf(s.Name)
		if !known {
			l.unknownSection(s)
			continue
		}
		l.sectionName(s, kind)
		schema := config.Schema(kind)
		for _, e := range s.Entries {
			if e.FromDefault {
				continue
			}
			w := where{e.Pos, s.Name, e.Key, e.Value}
			l.swallowed(w, e, schema)
			k := schema.Key(e.Key)
			if k == nil {
				if !schema.Open {
					l.unknownKey(w, schema)
				}
				continue
			}
			l.writtenValue(w, k, e)
		}
	}
	l.defaults()
}

// unknownSection warns of a section that nothing reads.
func (l *linter) unknownSection(s *config.Section) {
	if l.failedAt[s.Pos] {
		// It is told already what it was meant to be.
		return
	}
	prefix, name, colon := strings.Cut(s.Name, ":")
	hint := ""
	var known []string
	for _, k := range config.Schemas() {
		known = append(known, strings.TrimSuffix(k.Name, ":"))
	}
	near := config.Nearest(value.Trim(prefix), known)
	switch {
	case near == "" && !colon:
		hint = "a program is written as [program:" + s.Name + "]"
	case near == "":
	case config.Schema(kindNamed(near)).Named():
		if !colon {
			// [program x], [program]
			name = strings.TrimLeft(strings.TrimPrefix(value.Trim(prefix), near), " .-_")
			if name == "" {
				name = "NAME"
			}
		}
		hint = "did you mean [" + near + ":" + value.Trim(name) + "]?"
	default:
		hint = "did you mean [" + near + "]?"
	}
	if hint == "" {
		for _, k := range known {
			if strings.HasPrefix(strings.ToLower(s.Name), k) && config.Schema(kindNamed(k)).Named() {
				hint = "write a colon before the name: [" + k + ":NAME]"
			}
		}
	}
	l.warn("unknown-section", in(s), hint, "the section is not known, and has no effect")
}

// kindNamed is the kind whose sections begin with that word.
func kindNamed(word string) config.Kind {
	for _, k := range config.Schemas() {
		if strings.TrimSuffix(k.Name, ":") == word {
			return k.Kind
		}
	}
	return config.KindInclude
}

// sectionName warns of names that are accepted but hard to use.
func (l *linter) sectionName(s *config.Section, kind config.Kind) {
	if !config.Schema(kind).Named() || kind == config.KindRPCInterface || kind == config.KindCtlPlugin {
		return
	}
	_, name, _ := strings.Cut(s.Name, ":")
	switch {
	case value.Trim(name) == "":
		l.warn("odd-name", in(s), "write a name after the colon", "the name is empty")
	case strings.ContainsAny(name, "[]"):
		l.warn("odd-name", in(s), "leave the brackets out", "the name holds brackets")
	case kind == config.KindProgram && value.Trim(name) != name:
		l.warn("odd-name", in(s), "remove the blanks around the name", "a group cannot name this program")
	}
}

// swallowed warns of lines that became part of the value above them though
// they look like something else, or though no value of the kind has several.
func (l *linter) swallowed(w where, e *config.Entry, schema *config.SectionSchema) {
	key := schema.Key(e.Key)
	for _, line := range e.More {
		w := w
		w.pos.Line, w.value = line.Line, line.Text
		name := lineKey(line.Text)
		switch {
		case strings.HasPrefix(line.Text, "[") && strings.Contains(line.Text, "]") && headerLike(line.Text):
			l.warn("swallowed-line", w, "remove the blanks before it",
				"%s is not a section here but part of the value of %s, since it is indented", line.Text, e.Key)
		case name != "" && (schema.Key(name) != nil || knownKey(name) && !schema.Open && key != nil && !severalLines(key)):
			l.warn("swallowed-line", w, "remove the blanks before it",
				"%q is part of the value of %s, since it is indented", line.Text, e.Key)
		case key != nil && !severalLines(key):
			l.warn("swallowed-line", w, `if it is a comment, begin it with ";"`,
				"%q is part of the value of %s, since it is indented", line.Text, e.Key)
		}
	}
}

// headerLike reports whether a line would be the header of a known section.
func headerLike(line string) bool {
	name := line[1:strings.LastIndexByte(line, ']')]
	_, known := config.KindOf(name)
	return known
}

// lineKey is the key of a line if it looks like key=value.
func lineKey(line string) string {
	i := strings.IndexAny(line, "=:")
	if i <= 0 {
		return ""
	}
	return value.Lower(value.TrimRight(line[:i]))
}

// severalLines tells whether values of a key may well have several lines.
func severalLines(k *config.Key) bool {
	switch k.Type {
	case config.TypeCommand, config.TypeEnvironment, config.TypeList, config.TypePatterns, config.TypeExitCodes:
		return true
	}
	return false
}

// knownKey tells whether any kind of section has that key.
func knownKey(name string) bool {
	return slices.ContainsFunc(config.Schemas(), func(s *config.SectionSchema) bool { return s.Key(name) != nil })
}

// gone are keys of older versions, and options that are no keys.
var gone = map[string]string{
	"profile_options": "it is an option of the command line only",
	"http_port":       "write a section [inet_http_server] or [unix_http_server] instead",
	"http_username":   "write username into the section of the server",
	"http_password":   "write password into the section of the server",
	"sockchmod":       "write chmod into [unix_http_server]",
	"sockchown":       "write chown into [unix_http_server]",
	"backofflimit":    "it is no longer known",
	"forcelogs":       "it is no longer known",
	"log_stdout":      "write stdout_logfile instead",
	"log_stderr":      "write stderr_logfile instead",
}

// synonyms are words of other supervisors, and of everyday life, for keys.
var synonyms = map[string]string{
	"cmd": "command", "exec": "command", "execstart": "command",
	"cwd": "directory", "dir": "directory", "chdir": "directory", "workdir": "directory", "working_directory": "directory",
	"env": "environment", "envs": "environment",
	"restart": "autorestart", "retries": "startretries", "signal": "stopsignal", "stop_signal": "stopsignal",
	"instances": "numprocs", "workers": "numprocs", "processes": "numprocs", "name": "process_name",
	"logfile": "stdout_logfile", "log": "stdout_logfile", "stdout": "stdout_logfile", "stderr": "stderr_logfile",
	"logfile_maxbytes": "stdout_logfile_maxbytes", "logfile_backups": "stdout_logfile_backups",
	"username": "user", "user_name": "user", "run_as": "user", "runas": "user", "include": "files", "file": "files", "members": "programs", "socket_path": "file",
}

// foreign are the beginnings of keys that well-known extensions read from the
// file by themselves.
var foreign = []string{"dependent_startup"}

// unknownKey warns of a key that nothing reads.
func (l *linter) unknownKey(w where, schema *config.SectionSchema) {
	if slices.ContainsFunc(foreign, func(p string) bool { return strings.HasPrefix(w.key, p) }) || l.failedAt[w.pos] {
		return
	}
	if strings.HasPrefix(w.key, "[") {
		l.warn("unknown-key", w, "close the header with ]", "the line begins like a section header but is read as a key")
		return
	}
	hint := "remove it; \"supconf reference\" lists the keys there are"
	switch near := config.Nearest(w.key, schema.KeyNames()); {
	case gone[w.key] != "":
		hint = gone[w.key]
	case schema.Key(synonyms[w.key]) != nil:
		hint = "did you mean " + synonyms[w.key] + "?"
	case near != "":
		hint = "did you mean " + near + "?"
	default:
		for _, s := range config.Schemas() {
			if s.Key(w.key) != nil {
				hint = "it belongs into a section like [" + s.Example + "]"
				break
			}
		}
	}
	l.warn("unknown-key", w, hint, "the key is not known, and has no effect")
}

// misspelt reports whether a section has an unknown key that may be meant for
// key, which is told where that stands.
func misspelt(s *config.Section, key string) bool {
	k, _ := config.KindOf(s.Name)
	schema := config.Schema(k)
	return slices.ContainsFunc(s.Entries, func(e *config.Entry) bool {
		return schema.Key(e.Key) == nil && (synonyms[e.Key] == key || config.Nearest(e.Key, schema.KeyNames()) == key)
	})
}

// writtenValue looks at the text of a value.
func (l *linter) writtenValue(w where, k *config.Key, e *config.Entry) {
	l.quotes(w, k, e.Value)
	switch k.Type {
	case config.TypeEnvironment:
		l.environment(w, e.Value)
	case config.TypeOctal:
		if n, err := value.ParseOctal(e.Value); err == nil && n < 0 {
			l.warn("negative-number", w, "write for example 022", "a negative number makes no sense here")
		}
	case config.TypeInteger, config.TypeBytes, config.TypeBackups:
		if n, err := value.ParseBytes(e.Value); err == nil && n < 0 && k.Name != "priority" {
			l.warn("negative-number", w, "write 0 or more", "a negative number makes no sense here")
		} else if k.Type == config.TypeBackups && err == nil && n == 0 {
			l.warn("backups-zero", w, "write none to keep no backup, or a number",
				"0 keeps every backup, under dated names; Supervisor keeps none with 0 and starts the log over")
		}
	}
}

// quotes warns of quotation marks that become part of a value.
func (l *linter) quotes(w where, k *config.Key, text string) {
	if l.failedAt[w.pos] || k.Type == config.TypePatterns && l.reported(config.CodeIncludeMatchesNothing) {
		// The quotation marks are the reason, and it was told.
		return
	}
	switch k.Type {
	case config.TypeCommand, config.TypeEnvironment:
		return
	}
	for _, q := range []string{`"`, "'"} {
		if len(text) >= 2 && strings.HasPrefix(text, q) && strings.HasSuffix(text, q) {
			l.warn("quotes-kept", w, "remove the quotation marks", "the quotation marks are part of the value")
			return
		}
	}
	if k.Type == config.TypePatterns && strings.ContainsAny(text, `"'`) {
		l.warn("quotes-kept", w, "remove the quotation marks", "quotation marks are part of the file names")
	}
}

// environment warns of what is skipped in NAME=value pairs.
func (l *linter) environment(w where, text string) {
	_, notes, err := value.ParseEnvironment(text)
	if err != nil {
		return
	}
	for _, n := range notes {
		if n.Comment {
			l.warn("environment-comment", w, "put the value in quotation marks", `"#" cuts the rest of the line off`)
			continue
		}
		if n.Lost {
			l.warn("environment-quotes", w, "have a script set it, or the program read it from a file",
				"quotation marks at the ends of the value of %s are lost: it is %q", n.Before, n.Value)
			continue
		}
		l.warn("environment-separator", w, "separate variables with commas, and put values in quotation marks",
			"%q after the value of %s is skipped like a comma, and what follows is another variable", n.Separator, n.Before)
	}
}

// defaults warns of [DEFAULT], which reaches further than it looks.
func (l *linter) defaults() {
	d := l.doc.Defaults
	if len(d.Entries) == 0 {
		return
	}
	for _, e := range d.Entries {
		w := where{e.Pos, "DEFAULT", e.Key, e.Value}
		if !knownKey(e.Key) {
			near := "remove it"
			for _, s := range config.Schemas() {
				if key := config.Nearest(e.Key, s.KeyNames()); key != "" {
					near = "did you mean " + key + "?"
					break
				}
			}
			l.warn("unknown-key", w, near, "the key is not known, and has no effect")
		}
	}
	if len(l.plan.RPCInterfaces) > 0 {
		l.warn("default-section", where{pos: d.Pos, section: "DEFAULT"}, "write the keys where they belong",
			"its keys also become options of [rpcinterface:%s], with which Supervisor does not start", l.plan.RPCInterfaces[0].Name)
	}
}
