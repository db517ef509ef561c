package config

import (
	"errors"
	"strings"

	"sup/lib/expand"
	"sup/lib/value"
)

// Decoder reads the keys of sections by the schema. It reports what is wrong
// and goes on with the default, so that all problems come to light.
type Decoder struct {
	Doc     *Document
	Machine *Machine
	// Offline leaves out the checks of users, groups, directories and
	// plug-ins.
	Offline bool
	// AnyEnv takes variables of the environment that are not set for right: the
	// daemon may have them. A value that needs one is its text, or the default
	// where it must be a number or a word.
	AnyEnv bool
	// Report is told of every problem.
	Report func(*Problem)

	// expanded counts the bytes of what was expanded.
	expanded int
}

// Values reads the keys of one section. Names may be changed between reads.
type Values struct {
	*Decoder
	Section *Section
	Schema  *SectionSchema
	Names   Names
	// Narrow, if not 0, is what expressions may refer to whatever the
	// schema says: some keys are read for the group before the program.
	Narrow NameSet
}

// Values returns a reader of a section's keys, as those of a section of kind
// k. Section may be nil: then every key has its default.
func (d *Decoder) Values(s *Section, k Kind, names Names) *Values {
	names.AnyEnv = d.AnyEnv
	return &Values{Decoder: d, Section: s, Schema: Schema(k), Names: names}
}

// Text is the expanded text of a key.
type Text struct {
	Text string
	// Set tells whether there is a value: one that is written, or a
	// default.
	Set bool
	// Entry is where it is written; nil for a default.
	Entry *Entry
	// Bad tells that it could not be expanded, which has been reported, or not to
	// its end, since a variable is missing that the daemon may have.
	Bad bool
}

// Raw returns the text of a key as it is written, or its default.
func (v *Values) Raw(name string) Text {
	if v.Section != nil {
		if e := v.Section.Get(name); e != nil {
			return Text{Text: e.Value, Set: true, Entry: e}
		}
	}
	k := v.Schema.Key(name)
	return Text{Text: k.Default, Set: k.HasDefault}
}

// Text returns the expanded text of a key.
func (v *Values) Text(name string) Text {
	t := v.Raw(name)
	if !t.Set {
		return t
	}
	k := v.Schema.Key(name)
	v.Names.missed = false
	s, err := v.expand(k, t.Text)
	missed := v.Names.missed
	if err != nil {
		v.Report(expansionProblem(v.Section, t.Entry, &v.Names, err))
	}
	if missed && err == nil && k.Type.anyText() {
		return Text{Text: s, Set: true, Entry: t.Entry, Bad: true}
	}
	if err != nil || missed {
		s, _ = v.expand(k, k.Default)
		return Text{Text: s, Set: k.HasDefault, Entry: t.Entry, Bad: true}
	}
	t.Text = s
	return t
}

// expand expands the value of key k.
func (v *Values) expand(k *Key, s string) (string, error) {
	v.Names.Known = k.Names
	if v.Narrow != 0 {
		v.Names.Known = v.Narrow
	}
	s, err := v.replace(s)
	if err == nil && k.Again != 0 {
		v.Names.Known = k.Again
		s, err = v.replace(s)
	}
	return s, err
}

// replace replaces the expressions of a text, within what all texts of the
// configuration may have.
func (v *Values) replace(s string) (string, error) {
	if !strings.Contains(s, "%") {
		return s, nil
	}
	if err := v.spend(0); err != nil {
		return "", err
	}
	out, err := expand.Expand(s, v.Names.Lookup)
	switch {
	case errors.Is(err, expand.ErrTooLong):
		_ = v.spend(expand.MaxLength)
	case err == nil:
		err = v.spend(len(out))
	}
	return out, err
}

// Has tells whether a key is written.
func (v *Values) Has(name string) bool { return v.Section != nil && v.Section.Get(name) != nil }

// Problem makes a problem with a key of the section.
func (v *Values) Problem(code, name string, t Text, message, hint string) *Problem {
	p := &Problem{Code: code, Key: name, Value: shortened(t.Text), Message: message, Hint: hint}
	if v.Section != nil {
		p.Section = v.Section.Name
		p.at(v.Section.Pos)
	}
	if t.Entry != nil {
		p.at(t.Entry.Pos)
	}
	return p
}

// Fail reports a problem with a key.
func (v *Values) Fail(code, name string, t Text, message, hint string) {
	v.Report(v.Problem(code, name, t, message, hint))
}

// Missing reports that a required key, which was read as t, is not there.
func (v *Values) Missing(code, name string, t Text) {
	if t.Bad {
		return
	}
	hint := "add " + name + " = …"
	if k := v.Schema.Key(name); k.Example != "" {
		hint = "add a line such as " + name + " = " + k.Example
	}
	v.Report(v.Problem(code, "", Text{}, "the section has no key "+name, hint).near(name, v.Section, v.Schema))
}

// near moves the problem of a missing key to the line of one that is not
// known and may be the one that was meant.
func (p *Problem) near(name string, s *Section, schema *SectionSchema) *Problem {
	for _, e := range s.Entries {
		if schema.Key(e.Key) == nil && !e.FromDefault && Nearest(e.Key, []string{name}) != "" {
			p.Hint = "did you mean " + e.Key + " to be " + name + "?"
			return p.at(e.Pos)
		}
	}
	return p
}

// BadValue reports an error of package value.
func (v *Values) BadValue(name string, t Text, err error) {
	var e *value.Error
	if errors.As(err, &e) {
		hint := e.Hint
		if near := Nearest(t.Text, value.Words(e.Code)); hint == "" && near != "" {
			hint = "did you mean " + near + "?"
		}
		v.Fail(string(e.Code), name, t, e.Error(), hint)
		return
	}
	v.Fail("bad-value", name, t, err.Error(), "")
}

// get reads a key with parse. If that fails it reports the error and reads
// the default instead.
func get[T any](v *Values, name string, parse func(string) (T, error)) (T, Text) {
	t := v.Text(name)
	if !t.Set {
		var zero T
		return zero, t
	}
	x, err := parse(t.Text)
	if err == nil {
		return x, t
	}
	v.BadValue(name, t, err)
	k := v.Schema.Key(name)
	t = Text{Text: k.Default, Set: k.HasDefault}
	x, _ = parse(t.Text)
	return x, t
}

// Int reads an integer. Set is false if there is neither value nor default.
func (v *Values) Int(name string) (n int, set bool) {
	x, t := get(v, name, value.ParseInt)
	return int(x), t.Set
}

// Bool reads a boolean.
func (v *Values) Bool(name string) (b, set bool) {
	x, t := get(v, name, value.ParseBool)
	return x, t.Set
}

// Bytes reads a size.
func (v *Values) Bytes(name string) int64 {
	n, _ := get(v, name, value.ParseBytes)
	return n
}

// Octal reads an octal number.
func (v *Values) Octal(name string) (n int, set bool) {
	x, t := get(v, name, value.ParseOctal)
	return x, t.Set
}

// Signal reads a signal.
func (v *Values) Signal(name string) value.Signal {
	s, _ := get(v, name, value.ParseSignal)
	return s
}

// ExitCodes reads a list of exit codes.
func (v *Values) ExitCodes(name string) []int {
	codes, _ := get(v, name, value.ParseExitCodes)
	return codes
}

// AutoRestart reads a restart policy.
func (v *Values) AutoRestart(name string) value.AutoRestart {
	a, _ := get(v, name, value.ParseAutoRestart)
	return a
}

// LogLevel reads a log level.
func (v *Values) LogLevel(name string) string {
	l, _ := get(v, name, value.ParseLogLevel)
	return l
}

// Choice reads one of the words that the schema gives; any case will do.
func (v *Values) Choice(name string) string {
	choices := v.Schema.Key(name).Choices
	word, _ := get(v, name, func(s string) (string, error) { return value.ParseChoice(s, choices) })
	return word
}

// Backups reads a number of backups; "none" is NoBackups.
func (v *Values) Backups(name string) int {
	n, _ := get(v, name, ParseBackups)
	return int(n)
}

// NoBackups is the number of backups that stands for none.
const NoBackups = -1

// ParseBackups reads a number of backups, or the word none.
func ParseBackups(s string) (int64, error) {
	if value.Lower(s) == "none" {
		return NoBackups, nil
	}
	return value.ParseInt(s)
}

// Environment reads NAME="value" pairs. Names keep the order in which they
// were written first.
func (v *Values) Environment(name string) map[string]string {
	env := make(map[string]string)
	t := v.Text(name)
	if t.Bad {
		return env
	}
	pairs, _, err := value.ParseEnvironment(t.Text)
	if err != nil {
		v.BadValue(name, t, err)
	}
	for _, p := range pairs {
		env[p.Name] = p.Value
	}
	return env
}

// User reads a user. The numbers are -1 if the key is not set or there is no
// such user.
func (v *Values) User(name string) (t Text, uid, gid int) {
	t = v.Text(name)
	uid, gid = v.UserID(name, t)
	return t, uid, gid
}

// UserID looks up the user that key name, read as t, stands for. The numbers
// are -1 if the key is not set or there is no such user.
func (v *Values) UserID(name string, t Text) (uid, gid int) {
	if !t.Set {
		return -1, -1
	}
	uid, gid, err := v.Machine.User(t.Text)
	if err != nil && !v.Offline {
		hint := "create the user, or name one of /etc/passwd"
		if user, _, ok := cutOwner(t.Text); ok {
			hint = "write the user alone: " + user
		}
		v.Fail(CodeNoSuchUser, name, t, "there is no user "+quoteShort(t.Text), hint)
	}
	return uid, gid
}

// cutOwner cuts user:group or user.group.
func cutOwner(s string) (user, group string, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] == ':' || s[i] == '.' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// Owner reads USER or USER:GROUP; code is that of an error. The numbers are
// -1 where nothing is to change.
func (v *Values) Owner(code, name string) (t Text, uid, gid int) {
	t = v.Text(name)
	if !t.Set {
		return t, -1, -1
	}
	uid, gid, err := v.Machine.Owner(t.Text)
	if err != nil && !v.Offline {
		hint := "write user or user:group"
		v.Fail(code, name, t, err.Error()+": "+quoteShort(t.Text), hint)
	}
	return t, uid, gid
}

// Dir reads a directory that must exist.
func (v *Values) Dir(name string) Text {
	t := v.Text(name)
	if !t.Set || t.Bad {
		return t
	}
	dir, err := v.Machine.ExistingDir(t.Text, !v.Offline)
	if err != nil {
		v.Fail(CodeNoSuchDirectory, name, t, err.Error(), v.dirHint(t.Text, dir))
	}
	t.Text = dir
	return t
}

// PathInDir reads a path in a directory that must exist.
func (v *Values) PathInDir(name string) Text {
	t := v.Text(name)
	path, err := v.Machine.PathInDir(t.Text, !v.Offline && !t.Bad)
	if err != nil {
		dir, _ := splitPath(path)
		v.Fail(CodeNoSuchDirectory, name, t, err.Error(), v.dirHint(t.Text, dir))
	}
	t.Text = path
	return t
}

func (v *Values) dirHint(text, dir string) string {
	if text != "" && (text[0] == '"' || text[0] == '\'') {
		return "quotation marks are part of the value here; remove them"
	}
	return "create it with mkdir -p " + value.QuoteWord(dir)
}

// Free returns the expanded value of a key that the schema does not know, in
// a section that takes any.
func (v *Values) Free(e *Entry) string {
	v.Names.Known = NameEnv
	s, err := v.replace(e.Value)
	if err != nil {
		v.Report(expansionProblem(v.Section, e, &v.Names, err))
	}
	return s
}

// LogWord is what the value of a log key other than a path means.
type LogWord uint8

const (
	LogIsPath LogWord = iota
	LogIsNone
	LogIsAuto
	LogIsSyslog
)

// Logs are where the output of a program goes.
type Logs struct {
	// Word and Text are of the first log: Text is its path if Word says so.
	Word LogWord
	Text Text
	// More are the logs beside it: paths, and commands that begin with "|".
	// A first log that is a command is found here, too, and Word is LogIsNone.
	More []string
	// Syslog is set if syslog is one of several.
	Syslog bool
}

// LogFile reads the logs of a program: a path, with ~ expanded, whose directory
// must exist, or a word; and more of them after commas.
func (v *Values) LogFile(name string) Logs {
	t := v.Text(name)
	list := value.SplitLogs(t.Text)
	l := Logs{Text: t}
	for i, log := range list {
		word := LogIsPath
		switch value.Lower(log) {
		case "none", "off":
			word = LogIsNone
		case "auto":
			word = LogIsAuto
		case "syslog":
			word = LogIsSyslog
		}
		switch {
		case word == LogIsSyslog && len(list) > 1:
			l.Syslog = true
			word = LogIsNone
		case log != "" && log[0] == '|':
			if argv, err := value.SplitCommand(log[1:]); err != nil || len(argv) == 0 {
				v.Fail(CodeBadLogCommand, name, t, "there is no command after \"|\" that can be read", "write the command as in command =")
			}
			l.More = append(l.More, log)
			word = LogIsNone
		case word == LogIsPath:
			path, err := v.Machine.PathInDir(log, !v.Offline && !t.Bad)
			if err != nil {
				dir, _ := splitPath(path)
				v.Fail(CodeNoSuchDirectory, name, t, err.Error(), v.dirHint(log, dir))
			}
			if log = path; i > 0 {
				l.More = append(l.More, log)
			}
		}
		if i == 0 {
			l.Word, l.Text.Text = word, log
		}
	}
	return l
}

// Trimmed returns the text of a key from which white space was removed before
// it was expanded.
func (v *Values) Trimmed(name string) string {
	t := v.Raw(name)
	k := v.Schema.Key(name)
	s, err := v.expand(k, value.Trim(t.Text))
	if err != nil {
		v.Report(expansionProblem(v.Section, t.Entry, &v.Names, err))
	}
	return s
}
