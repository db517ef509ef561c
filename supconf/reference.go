package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"sup/lib/cli"
	"sup/lib/config"
)

func referenceVerb() *verb {
	return &verb{
		name:  "reference",
		args:  "[--format md|roff]",
		short: "print a table of all sections and keys",
		help: `
Prints what is known of every section and key: type, default, the names that
expressions may refer to, and what it is for; as Markdown, or as a manual page.`,
		opts: []cli.Option{{Long: "format", Arg: true}},
		run:  runReference,
	}
}

func runReference(c *command) int {
	format, given := c.opt("format")
	if len(c.args) > 0 {
		return c.usage(fmt.Errorf("want no arguments"))
	}
	switch {
	case !given || format == "md":
		referenceMarkdown(c.Out)
	case format == "roff":
		referenceRoff(c.Out)
	default:
		return c.usage(fmt.Errorf("there is no format %q", format))
	}
	return exitOK
}

// scopes are the sets of names, with the letter each has in the reference.
var scopes = []struct {
	set          config.NameSet
	letter, what string
}{
	{config.NameEnv, "V", "ENV_X: environment variables"},
	{config.NamesStart, "S", "these and here"},
	{config.NamesSocket, "F", "these and program_name"},
	{config.NamesInclude, "I", "here, host_node_name, ENV_X"},
	{config.NamesEarly, "G", "these and program_name, group_name"},
	{config.NamesEnviron, "E", "these and process_num, numprocs"},
	{config.NamesProcess, "P", "these and ENV_X of the section's own environment"},
}

func scopeLetter(set config.NameSet) string {
	for _, s := range scopes {
		if s.set == set {
			return s.letter
		}
	}
	return ""
}

// describeDefault is the column "default" of the reference.
func describeDefault(k config.Key) string {
	switch {
	case k.Required:
		return "required"
	case k.DefaultNote != "":
		return k.DefaultNote
	case k.HasDefault && k.Default == "":
		return "empty"
	case k.HasDefault:
		return k.Default
	}
	return "none"
}

// referenceKeys are the keys that a kind's own table shows: those shared with
// programs stand there.
func referenceKeys(s *config.SectionSchema) []config.Key {
	if !programKind(s.Kind) {
		return s.Keys
	}
	var own []config.Key
	program := config.Schema(config.KindProgram)
	for _, k := range s.Keys {
		if p := program.Key(k.Name); p == nil || p.Default != k.Default {
			own = append(own, k)
		}
	}
	return own
}

func referenceMarkdown(w io.Writer) {
	fmt.Fprint(w, "# Sections and keys\n\nExpressions `%(name)s` may refer to the names of the letter in the column E:\n\n")
	for _, s := range scopes {
		fmt.Fprintf(w, "- **%s** %s\n", s.letter, s.what)
	}
	cell := strings.NewReplacer("|", `\|`)
	for _, s := range config.Schemas() {
		fmt.Fprintf(w, "\n## [%s]\n\n%s\n\n| key | type | default | E | meaning |\n|---|---|---|---|---|\n", s.Example, s.Doc)
		for _, k := range referenceKeys(s) {
			def := describeDefault(k)
			if k.HasDefault && k.Default != "" {
				def = "`" + def + "`"
			}
			doc := k.Doc
			if k.Option {
				doc += "; option " + optionName(k)
			}
			if k.Ours {
				doc += "; not known to Supervisor"
			}
			fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", k.Name, cell.Replace(k.Wanted()),
				cell.Replace(def), scopeLetter(k.Names), cell.Replace(doc))
		}
	}
}

// optionName is how the option of a key is written.
func optionName(k config.Key) string {
	if k.Short == 0 {
		return "--" + k.Name
	}
	return fmt.Sprintf("-%c", k.Short)
}

func referenceRoff(w io.Writer) {
	fmt.Fprintf(w, ".TH SUPERVISORD.CONF 5 \"\" \"sup %s\" \"File formats\"\n", cli.Version)
	fmt.Fprint(w, ".SH NAME\nsupervisord.conf \\- configuration of supd and supctl\n.SH EXPRESSIONS\n"+
		"Expressions %(name)s may refer to the names of the letter that each key gives:\n")
	for _, s := range scopes {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", s.letter, roff(s.what))
	}
	for _, s := range config.Schemas() {
		fmt.Fprintf(w, ".SH [%s]\n%s\n", roff(s.Example), roff(s.Doc))
		for _, k := range referenceKeys(s) {
			fmt.Fprintf(w, ".TP\n.BR %s \" (%s; default: %s; %s)\"\n%s\n", roff(k.Name), roff(quoted(k.Wanted())),
				roff(quoted(describeDefault(k))), scopeLetter(k.Names), roff(k.Doc))
		}
	}
}

// roff protects what troff would take for its own, and writes in ASCII what is
// not.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.ContainsFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) {
		var b strings.Builder
		for _, r := range s {
			if r < utf8.RuneSelf {
				b.WriteRune(r)
			} else {
				fmt.Fprintf(&b, `\[u%04X]`, r)
			}
		}
		s = b.String()
	}
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}

// quoted doubles quotation marks within an argument of a macro.
func quoted(s string) string { return strings.ReplaceAll(s, `"`, `""`) }
