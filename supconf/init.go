package main

import (
	"errors"
	"fmt"
	"strings"

	"sup/lib/config"
)

func initVerb() *verb {
	return &verb{
		name:  "init",
		args:  "",
		short: "print a commented sample configuration",
		help: `
Prints a sample of every section and key, with what it is for, its type and
its default. The sections that a daemon and its client need are switched on;
the others are comments. Typical use:

    supconf init > supervisord.conf`,
		run: runInit,
	}
}

func runInit(c *command) int {
	if len(c.args) > 0 {
		return c.usage(errors.New("want no arguments"))
	}
	fmt.Fprint(c.Out, sampleHead)
	out, err := sample()
	if err != nil {
		return c.fail(err)
	}
	if _, err := out.WriteTo(c.Out); err != nil {
		return c.fail(err)
	}
	return exitOK
}

const sampleHead = `; Sample configuration of supd (also of supervisord).
;
; - Whole lines beginning with ";" or "#" are comments; so is what follows such a
;   mark after a blank, also within quotation marks: "a=b ;c" has a comment, "a=b;c" none.
; - Lines that are indented more than a key continue its value.
; - %(ENV_X)s stands for the environment variable X, %(here)s for the directory of
;   this file; write %% for a percent sign.
; - No shell sees commands: for pipes, variables or ";" write sh -c '...'.
; - Check the file with "supconf lint".

`

// shownKinds are the kinds of the sample in order; those that are switched on
// have keys with a sample value.
var shownKinds = []config.Kind{
	config.KindUnixServer, config.KindInetServer, config.KindSupervisord, config.KindRPCInterface,
	config.KindSupervisorctl, config.KindProgram, config.KindEventListener, config.KindFCGI,
	config.KindGroup, config.KindInclude,
}

// sample makes the sample of the schema.
func sample() (*config.Printout, error) {
	out := config.NewPrintout()
	// A section that is switched off is written with the one before it, as
	// lines of comment.
	var name, comment string
	var body strings.Builder
	flush := func() error {
		if name == "" {
			return nil
		}
		return out.Body(name, comment, body.String())
	}
	for _, kind := range shownKinds {
		s := config.Schema(kind)
		if on(s) {
			if err := flush(); err != nil {
				return nil, err
			}
			name, comment = s.Example, s.Doc
			body.Reset()
			sampleKeys(&body, s, "")
			continue
		}
		fmt.Fprintf(&body, "\n; %s\n;[%s]\n", s.Doc, s.Example)
		sampleKeys(&body, s, ";")
	}
	return out, flush()
}

// on tells whether a section of the sample is switched on.
func on(s *config.SectionSchema) bool {
	for _, k := range s.Keys {
		if k.Sample != "" {
			return true
		}
	}
	return false
}

// sampleKeys writes the keys of a section. Those of programs are shown for
// programs only, not again for the other kinds.
func sampleKeys(b *strings.Builder, s *config.SectionSchema, off string) {
	program := config.Schema(config.KindProgram)
	for _, k := range s.Keys {
		shared := program.Key(k.Name)
		if s.Kind != config.KindProgram && shared != nil && programKind(s.Kind) && k.Name != "command" {
			continue
		}
		line := off + k.Name + "=" + k.Sample
		if k.Sample == "" {
			text := k.Default
			if text == "" {
				text = k.Example
			}
			line = ";" + k.Name + "=" + text
		}
		fmt.Fprintf(b, "%-42s ; %s%s\n", line, k.Doc, defaultNote(k))
	}
}

func programKind(k config.Kind) bool {
	return k == config.KindFCGI || k == config.KindEventListener
}

// defaultNote says what the default is, where the sample does not show it.
func defaultNote(k config.Key) string {
	switch {
	case k.Required:
		return " (required)"
	case k.DefaultNote != "":
		return " (default: " + k.DefaultNote + ")"
	case k.HasDefault && k.Default != "" && k.Sample != "" && k.Sample != k.Default:
		return " (default: " + k.Default + ")"
	}
	return ""
}
