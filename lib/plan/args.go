package plan

import (
	"errors"
	"fmt"
	"strings"

	"sup/lib/cli"
	"sup/lib/config"
	"sup/lib/value"
)

// Override is an option of the command line that wins over a key of
// [supervisord].
type Override struct {
	// Key is the name of the key, Flag the option as it was written.
	Key, Flag string
	// Text is the argument, "true" for a flag.
	Text string
}

// Args is the daemon's command line.
type Args struct {
	// File is the argument of -c, "" without it.
	File string
	// Help and Version are set if these were asked for; what follows on the
	// command line has not been looked at then.
	Help, Version bool
	// Profile is the argument of --profile_options, which has no effect.
	Profile   string
	Overrides []Override
}

// daemonOptions are the daemon's options: those of the schema, and the few
// that have no key.
func daemonOptions() []cli.Option {
	opts := []cli.Option{
		{Short: 'h', Long: "help"},
		{Short: '?'},
		{Short: 'v', Long: "version"},
		{Short: 'c', Long: "configuration", Arg: true},
		{Long: "profile_options", Arg: true},
	}
	for _, k := range config.Schema(config.KindSupervisord).Keys {
		if k.Option {
			opts = append(opts, cli.Option{Short: k.Short, Long: k.Name, Arg: !k.Flag})
		}
	}
	return opts
}

// ParseDaemonArgs reads the daemon's command line. The error is a
// *config.Problem. Users and directories are looked at by Load only.
func ParseDaemonArgs(args []string) (Args, error) {
	var a Args
	found, rest, err := cli.Getopt(daemonOptions(), args)
	if err != nil {
		return a, OptionProblem(err)
	}
	if len(rest) > 0 {
		return a, &config.Problem{
			Code:    config.CodePositionalArgument,
			Value:   rest[0],
			Message: fmt.Sprintf("positional arguments are not supported: %s", strings.Join(rest, " ")),
		}
	}
	kind := config.Schema(config.KindSupervisord)
	for _, f := range found {
		switch {
		case f.Is("h") || f.Is("?"):
			a.Help = true
			return a, nil
		case f.Is("v"):
			a.Version = true
			return a, nil
		}
		key := kind.Key(f.Option.Long)
		if key != nil {
			if err := checkArg(key, f.Arg); err != nil {
				return a, argProblem(err, f.Flag, f.Arg)
			}
		}
		if err := f.Err(); err != nil {
			return a, OptionProblem(err)
		}
		switch {
		case f.Is("configuration"):
			a.File = f.Arg
		case f.Is("profile_options"):
			a.Profile = f.Arg
		case key.Flag:
			a.Overrides = append(a.Overrides, Override{key.Name, f.Flag, "true"})
		default:
			a.Overrides = append(a.Overrides, Override{key.Name, f.Flag, f.Arg})
		}
	}
	return a, nil
}

// checkArg checks an argument as far as the text alone allows.
func checkArg(k *config.Key, text string) error {
	var err error
	if k.Flag {
		return nil
	}
	switch k.Type {
	case config.TypeInteger:
		_, err = value.ParseInt(text)
	case config.TypeBackups:
		_, err = config.ParseBackups(text)
	case config.TypeBytes:
		_, err = value.ParseBytes(text)
	case config.TypeOctal:
		_, err = value.ParseOctal(text)
	case config.TypeLogLevel:
		_, err = value.ParseLogLevel(text)
	}
	return err
}

// OptionProblem makes a problem of an error of cli.Getopt.
func OptionProblem(err error) *config.Problem {
	p := &config.Problem{Code: config.CodeBadOption, Message: err.Error()}
	var oe *cli.OptionError
	if errors.As(err, &oe) {
		p.Key = ""
		p.Value = oe.Flag
		if oe.Kind == cli.OptionRepeated {
			p.Code = config.CodeRepeatedOption
		}
	}
	return p
}

// argProblem makes a problem of an argument of the wrong type.
func argProblem(err error, flag, text string) *config.Problem {
	p := &config.Problem{
		Code:    config.CodeBadOptionValue,
		Value:   text,
		Message: fmt.Sprintf("invalid value for %s: %v", flag, err),
	}
	var ve *value.Error
	if errors.As(err, &ve) {
		p.Code, p.Hint = string(ve.Code), ve.Hint
	}
	return p
}

// checkOverrides checks what ParseDaemonArgs could not, and returns the
// overrides by key.
func (l *loader) checkOverrides() map[string]Override {
	byKey := make(map[string]Override, len(l.opts.Overrides))
	kind := config.Schema(config.KindSupervisord)
	for _, o := range l.opts.Overrides {
		err := checkArg(kind.Key(o.Key), o.Text)
		if err != nil {
			l.report(argProblem(err, o.Flag, o.Text))
			continue
		}
		switch kind.Key(o.Key).Type {
		case config.TypeDir:
			o.Text, err = l.machine.ExistingDir(o.Text, !l.opts.Offline)
		case config.TypePathInDir:
			o.Text, err = l.machine.PathInDir(o.Text, !l.opts.Offline)
		}
		if err != nil {
			p := argProblem(err, o.Flag, o.Text)
			p.Code = config.CodeNoSuchDirectory
			l.report(p)
		}
		byKey[o.Key] = o
	}
	return byKey
}
