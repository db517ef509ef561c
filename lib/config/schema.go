package config

import (
	"strings"
	"sync"

	"sup/lib/value"
)

// Type is the type of a key's value.
type Type uint8

const (
	TypeText Type = iota
	TypeInteger
	TypeBool
	TypeBytes
	TypeOctal
	TypeSignal
	TypeExitCodes
	TypeAutoRestart
	TypeLogLevel
	TypeName        // of a process
	TypeUser        // a user that exists
	TypeOwner       // USER or USER:GROUP that exist
	TypeDir         // a directory that exists
	TypePathInDir   // a path in a directory that exists
	TypePath        // made absolute
	TypeLogFile     // path in a directory that exists, NONE, AUTO or SYSLOG, |command, or several
	TypeBackups     // integer, or none
	TypeEnvironment // NAME="value",…
	TypeList        // words with commas between
	TypePatterns    // file patterns with white space between
	TypeInet        // [HOST]:PORT
	TypeSocket      // tcp://… or unix://…
	TypePlugin      // module:function
	TypeURL         // of a server
	TypeCommand     // split into words when started
	TypeStateDir    // a path, or none
	TypeRoles       // ROLE: SUBJECT, …; …
	TypeChoice      // one of the key's Choices
)

// typeNames says what a person has to write.
var typeNames = map[Type]string{
	TypeText:        "text",
	TypeInteger:     "integer",
	TypeBool:        "true | false",
	TypeBytes:       "bytes (KB, MB, GB)",
	TypeOctal:       "octal",
	TypeSignal:      "signal",
	TypeExitCodes:   "numbers 0-255, by commas",
	TypeAutoRestart: "true | false | unexpected",
	TypeLogLevel:    strings.Join(value.LogLevels, " | "),
	TypeName:        "name",
	TypeUser:        "user",
	TypeOwner:       "user | user:group",
	TypeDir:         "directory that exists",
	TypePathInDir:   "path in a directory that exists",
	TypePath:        "path",
	TypeLogFile:     "path | AUTO | NONE | \"|command\"",
	TypeBackups:     "integer | none",
	TypeEnvironment: `NAME="value",…`,
	TypeList:        "words, by commas",
	TypePatterns:    "file patterns, by blanks",
	TypeInet:        "port | host:port | *:port",
	TypeSocket:      "tcp://host:port | unix:///path",
	TypePlugin:      "module:function",
	TypeURL:         "URL",
	TypeCommand:     "command line",
	TypeStateDir:    "path | none",
	TypeRoles:       "role: who, …; role: …",
}

func (t Type) String() string { return typeNames[t] }

// anyText tells whether a value of the type may be any text.
func (t Type) anyText() bool {
	switch t {
	case TypeText, TypeName, TypeDir, TypePathInDir, TypePath, TypeLogFile, TypeEnvironment, TypeCommand, TypeStateDir, TypeURL:
		return true
	}
	return false
}

// Key is what is known of one key.
type Key struct {
	// Name is in lower case.
	Name string
	Type Type
	// Choices are the words that a TypeChoice takes, in lower case.
	Choices []string
	// Default is the value without the key, as it would be written; it is
	// expanded as one that is written. HasDefault is false if there is
	// none.
	Default    string
	HasDefault bool
	// DefaultNote says what the default is where it is not a fixed text.
	DefaultNote string
	// Required keys must be there.
	Required bool
	// Names are the ones that expressions may refer to.
	Names NameSet
	// Again, if not 0, tells that the value is expanded twice, so that %%%%
	// is needed for a percent sign, and the names known the second time.
	Again NameSet
	// Short and Flag are set for keys with an option on the command line
	// of the daemon, whose long form is the key's name.
	Option bool
	Short  rune
	Flag   bool
	// Ours are keys that Supervisor does not know.
	Ours bool
	// Example is what the sample shows, as a comment, if not the default.
	Example string
	// Sample, if not "", is what the sample sets the key to.
	Sample string
	// Doc is the documentation in one line.
	Doc string
}

// Wanted says what a person has to write.
func (k *Key) Wanted() string {
	if k.Type == TypeChoice {
		return strings.Join(k.Choices, " | ")
	}
	return k.Type.String()
}

// Kind is a kind of section.
type Kind uint8

const (
	KindSupervisord Kind = iota
	KindUnixServer
	KindInetServer
	KindRPCInterface
	KindSupervisorctl
	KindProgram
	KindFCGI
	KindEventListener
	KindGroup
	KindInclude
	KindCtlPlugin
	numKinds
)

// SectionSchema is what is known of one kind of section.
type SectionSchema struct {
	Kind Kind
	// Name is the name, or for sections with a name of their own the part
	// up to and with the colon.
	Name string
	// Example is the whole name as the sample shows it.
	Example string
	// Open sections take other keys too.
	Open bool
	Doc  string
	Keys []Key

	index map[string]*Key
}

// Key returns the key of that name, or nil.
func (s *SectionSchema) Key(name string) *Key { return s.index[name] }

// Names are the names of all keys.
func (s *SectionSchema) KeyNames() []string {
	names := make([]string, len(s.Keys))
	for i := range s.Keys {
		names[i] = s.Keys[i].Name
	}
	return names
}

// Named tells whether sections of the kind have a name after a colon.
func (s *SectionSchema) Named() bool { return strings.HasSuffix(s.Name, ":") }

// Schema returns the schema of a kind of section.
func Schema(k Kind) *SectionSchema { return &schema()[k] }

// Schemas returns the schemas of all kinds, in the order of the manual.
func Schemas() []*SectionSchema {
	all := make([]*SectionSchema, numKinds)
	for i := range all {
		all[i] = Schema(Kind(i))
	}
	return all
}

// KindOf tells what kind a section of that name is.
func KindOf(section string) (Kind, bool) {
	// Servers need not have a colon after the word.
	switch {
	case section == "supervisord":
		return KindSupervisord, true
	case section == "supervisorctl":
		return KindSupervisorctl, true
	case section == "include":
		return KindInclude, true
	case strings.HasPrefix(section, "unix_http_server"):
		return KindUnixServer, true
	case strings.HasPrefix(section, "inet_http_server"):
		return KindInetServer, true
	}
	prefix, _, found := strings.Cut(section, ":")
	if !found {
		return 0, false
	}
	switch prefix {
	case "program":
		return KindProgram, true
	case "fcgi-program":
		return KindFCGI, true
	case "eventlistener":
		return KindEventListener, true
	case "group":
		return KindGroup, true
	case "rpcinterface":
		return KindRPCInterface, true
	case "ctlplugin":
		return KindCtlPlugin, true
	}
	return 0, false
}

// schema is the table, put together and indexed when first asked for: not
// every run of a tool needs it.
var schema = sync.OnceValue(func() *[numKinds]SectionSchema {
	t := sections()
	for i := range t {
		s := &t[i]
		if s.Kind != Kind(i) {
			panic("config: the schema is out of order at " + s.Name)
		}
		s.index = make(map[string]*Key, len(s.Keys))
		for j := range s.Keys {
			s.index[s.Keys[j].Name] = &s.Keys[j]
		}
	}
	return &t
})
