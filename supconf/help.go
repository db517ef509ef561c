package main

import (
	"fmt"
	"io"
	"strings"

	"sup/lib/cli"
)

// printUsage prints what supconf is and which verbs it has.
func printUsage(w io.Writer) {
	fmt.Fprintf(w, "supconf %s - check, print and compare configurations\n\n", cli.Version)
	fmt.Fprintf(w, "Usage: supconf VERB [OPTION…]\n\nVerbs:\n")
	for _, v := range verbs() {
		fmt.Fprintf(w, "  %-10s %s\n", v.name, v.short)
	}
	fmt.Fprint(w, "\n  supconf VERB --help tells more; supconf --version prints the version.\n")
}

// helpVerb prints the help of a verb.
func helpVerb(std cli.Streams, name string) int {
	v := findVerb(name)
	if v == nil {
		usageError(std.Err, unknownVerb(name))
		return exitUsage
	}
	printHelp(std.Out, v)
	return exitOK
}

// optionHelp says what each option does.
var optionHelp = map[string]string{
	"client":        "show what the client reads",
	"configuration": "the file to read, instead of searching for it",
	"format":        "md (the default) or roff",
	"json":          "print JSON",
	"offline":       "leave out what only the machine the file is for can tell: users, groups, directories, plug-ins",
	"scheme":        "argon2id (the default), bcrypt or sha",
	"serverurl":     "address of the daemon to ask, instead of that of the file",
	"strict":        "exit with 1 for warnings too",
}

// printHelp prints the help of a verb.
func printHelp(w io.Writer, v *verb) {
	fmt.Fprintf(w, "Usage: %s\n\n%s\n", strings.TrimSpace("supconf "+v.name+" "+v.args), strings.TrimSpace(v.help))
	if len(v.opts) == 0 {
		return
	}
	fmt.Fprint(w, "\nOptions:\n")
	for _, o := range v.opts {
		name := "--" + o.Long
		if o.Short != 0 {
			name = fmt.Sprintf("-%c, %s", o.Short, name)
		}
		if o.Arg {
			name += " X"
		}
		fmt.Fprintf(w, "  %-24s %s\n", name, optionHelp[o.Long])
	}
}
