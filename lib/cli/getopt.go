package cli

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Option is one option that a command knows.
type Option struct {
	// Short is the letter after a single dash, 0 for none.
	Short rune
	// Long is the name after two dashes, "" for none.
	Long string
	// Arg tells whether the option takes an argument.
	Arg bool
	// Repeatable options may be given more than once.
	Repeatable bool
}

// Found is one option on a command line.
type Found struct {
	// Option points into the table that was handed to Getopt.
	Option *Option
	// Flag is how the option was written, completed: "-c", "--logfile".
	Flag string
	// Arg is its argument, "" for an option without one.
	Arg string
	// Repeated is set if the option was given before, in either spelling,
	// and is not Repeatable. It is for the caller to refuse: options that
	// end the command, such as help, take effect if they stand before it.
	Repeated bool
}

// Is reports whether f is the option with the long name given, or, if the
// name has a single letter, the one with that short name.
func (f Found) Is(name string) bool {
	if utf8.RuneCountInString(name) == 1 {
		r, _ := utf8.DecodeRuneInString(name)
		return f.Option.Short == r
	}
	return f.Option.Long == name
}

// Err returns the error of a repeated option, nil for any other.
func (f Found) Err() error {
	if !f.Repeated {
		return nil
	}
	return &OptionError{Kind: OptionRepeated, Flag: f.Flag}
}

// OptionErrorKind says what is wrong with an option.
type OptionErrorKind uint8

const (
	// OptionUnknown is an option that is not in the table.
	OptionUnknown OptionErrorKind = iota
	// OptionAmbiguous is an abbreviation that fits several long names.
	OptionAmbiguous
	// OptionWantsArg is an option at the end whose argument is missing.
	OptionWantsArg
	// OptionTakesNoArg is a flag that was given an argument.
	OptionTakesNoArg
	// OptionRepeated is an option given twice; see [Found.Err].
	OptionRepeated
	// OptionBadValue is an argument of the wrong type. Getopt does not
	// return it; it is for callers that convert arguments.
	OptionBadValue
)

// OptionError is an error in the use of options.
type OptionError struct {
	Kind OptionErrorKind
	// Flag is the option with its dashes.
	Flag string
	// Value is the argument that was not understood (OptionBadValue).
	Value string
	// Err says what is wrong with it (OptionBadValue).
	Err error
}

func (e *OptionError) Error() string {
	switch e.Kind {
	case OptionUnknown:
		return fmt.Sprintf("option %s not recognized", e.Flag)
	case OptionAmbiguous:
		return fmt.Sprintf("option %s not a unique prefix", e.Flag)
	case OptionWantsArg:
		return fmt.Sprintf("option %s requires argument", e.Flag)
	case OptionTakesNoArg:
		return fmt.Sprintf("option %s must not have an argument", e.Flag)
	case OptionRepeated:
		return fmt.Sprintf("conflicting command line option '%s'", e.Flag)
	case OptionBadValue:
		return fmt.Sprintf("invalid value for %s '%s': %v", e.Flag, e.Value, e.Err)
	}
	return fmt.Sprintf("bad option %s", e.Flag)
}

func (e *OptionError) Unwrap() error { return e.Err }

// Getopt reads options from the start of args, by the rules of Supervisor's
// tools: short options may be bundled and carry their argument with them
// (-nlFILE), long ones may be cut to an unambiguous beginning and take their
// argument after "=" or in the next word; an exact name wins over longer ones.
// Reading stops at the first word that is no option (a lone "-" is none), or
// after "--"; rest is what follows.
//
// The error is an *OptionError. Repeated options are marked, not refused.
func Getopt(opts []Option, args []string) (found []Found, rest []string, err error) {
	seen := make(map[*Option]bool)
	add := func(o *Option, flag, arg string) {
		found = append(found, Found{
			Option:   o,
			Flag:     flag,
			Arg:      arg,
			Repeated: seen[o] && !o.Repeatable,
		})
		seen[o] = true
	}
	for len(args) > 0 && strings.HasPrefix(args[0], "-") && args[0] != "-" {
		word := args[0]
		args = args[1:]
		if word == "--" {
			break
		}
		if strings.HasPrefix(word, "--") {
			args, err = long(opts, word[2:], args, add)
		} else {
			args, err = short(opts, word[1:], args, add)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return found, args, nil
}

// long reads one long option, word without its dashes, and returns what is
// left of args.
func long(opts []Option, word string, args []string, add func(*Option, string, string)) ([]string, error) {
	name, arg, hasArg := strings.Cut(word, "=")
	var match *Option
	candidates := 0
	for i := range opts {
		o := &opts[i]
		if o.Long == "" || !strings.HasPrefix(o.Long, name) {
			continue
		}
		candidates++
		match = o
		if o.Long == name {
			candidates = 1
			break
		}
	}
	switch {
	case candidates == 0:
		return nil, &OptionError{Kind: OptionUnknown, Flag: "--" + name}
	case candidates > 1:
		return nil, &OptionError{Kind: OptionAmbiguous, Flag: "--" + name}
	}
	flag := "--" + match.Long
	switch {
	case match.Arg && !hasArg:
		if len(args) == 0 {
			return nil, &OptionError{Kind: OptionWantsArg, Flag: flag}
		}
		arg, args = args[0], args[1:]
	case !match.Arg && hasArg:
		return nil, &OptionError{Kind: OptionTakesNoArg, Flag: flag}
	}
	add(match, flag, arg)
	return args, nil
}

// short reads one word of bundled short options, without its dash, and
// returns what is left of args.
func short(opts []Option, word string, args []string, add func(*Option, string, string)) ([]string, error) {
	for word != "" {
		letter, size := utf8.DecodeRuneInString(word)
		flag := "-" + word[:size]
		word = word[size:]
		var match *Option
		for i := range opts {
			if opts[i].Short != 0 && opts[i].Short == letter {
				match = &opts[i]
				break
			}
		}
		if match == nil {
			return nil, &OptionError{Kind: OptionUnknown, Flag: flag}
		}
		if !match.Arg {
			add(match, flag, "")
			continue
		}
		if word == "" {
			if len(args) == 0 {
				return nil, &OptionError{Kind: OptionWantsArg, Flag: flag}
			}
			word, args = args[0], args[1:]
		}
		add(match, flag, word)
		break
	}
	return args, nil
}
