package cli

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

var testOptions = []Option{
	{Short: 'h', Long: "help"},
	{Short: '?'},
	{Short: 'c', Long: "configuration", Arg: true},
	{Short: 'n', Long: "nodaemon"},
	{Short: 'k', Long: "nocleanup"},
	{Short: 'l', Long: "logfile", Arg: true},
	{Short: 'y', Long: "logfile_maxbytes", Arg: true},
	{Long: "minprocs", Arg: true},
	{Short: 'e', Long: "exclude", Arg: true, Repeatable: true},
}

func TestGetopt(t *testing.T) {
	for _, tt := range []struct {
		name  string
		args  []string
		found string
		rest  []string
	}{
		{"none", nil, "", nil},
		{"bundle", []string{"-nl", "a.log"}, "-n -l=a.log", nil},
		{"attached", []string{"-nla.log"}, "-n -l=a.log", nil},
		{"argument looks like an option", []string{"-l", "-n"}, "-l=-n", nil},
		{"long with equals", []string{"--logfile=a=b"}, "--logfile=a=b", nil},
		{"long with empty argument", []string{"--logfile="}, "--logfile=", nil},
		{"long with next word", []string{"--logfile", "a"}, "--logfile=a", nil},
		{"prefix", []string{"--nod", "--conf=x"}, "--nodaemon --configuration=x", nil},
		{"exact beats longer", []string{"--logfile", "x"}, "--logfile=x", nil},
		{"stop at word", []string{"-n", "start", "-k"}, "-n", []string{"start", "-k"}},
		{"stop at dashes", []string{"-n", "--", "-k"}, "-n", []string{"-k"}},
		{"lone dash is a word", []string{"-", "-n"}, "", []string{"-", "-n"}},
		{"question mark", []string{"-?"}, "-?", nil},
		{"repeated", []string{"-n", "--nodaemon"}, "-n !--nodaemon", nil},
		{"repeatable", []string{"-ea", "-eb"}, "-e=a -e=b", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, rest, err := Getopt(testOptions, tt.args)
			if err != nil {
				t.Fatal(err)
			}
			var words []string
			for _, f := range found {
				w := f.Flag
				if f.Option.Arg {
					w += "=" + f.Arg
				}
				if f.Repeated {
					w = "!" + w
					if f.Err() == nil {
						t.Errorf("%s: repeated, but no error", f.Flag)
					}
				}
				words = append(words, w)
			}
			if got := strings.Join(words, " "); got != tt.found {
				t.Errorf("found %q, want %q", got, tt.found)
			}
			if !slices.Equal(rest, tt.rest) {
				t.Errorf("rest %q, want %q", rest, tt.rest)
			}
		})
	}
}

func TestGetoptErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		kind OptionErrorKind
		text string
	}{
		{[]string{"-x"}, OptionUnknown, "option -x not recognized"},
		{[]string{"--nope"}, OptionUnknown, "option --nope not recognized"},
		{[]string{"--no"}, OptionAmbiguous, "option --no not a unique prefix"},
		{[]string{"--=x"}, OptionAmbiguous, "option -- not a unique prefix"},
		{[]string{"-nl"}, OptionWantsArg, "option -l requires argument"},
		{[]string{"--minp"}, OptionWantsArg, "option --minprocs requires argument"},
		{[]string{"--nod=1"}, OptionTakesNoArg, "option --nodaemon must not have an argument"},
	} {
		_, _, err := Getopt(testOptions, tt.args)
		var oe *OptionError
		if !errors.As(err, &oe) || oe.Kind != tt.kind || oe.Error() != tt.text {
			t.Errorf("%q: got %v, want kind %d, %q", tt.args, err, tt.kind, tt.text)
		}
	}
}

func TestFoundIs(t *testing.T) {
	found, _, err := Getopt(testOptions, []string{"-c", "x", "--minprocs=1"})
	if err != nil {
		t.Fatal(err)
	}
	if !found[0].Is("c") || !found[0].Is("configuration") || found[0].Is("n") || found[0].Is("nodaemon") {
		t.Errorf("-c is not recognised as itself")
	}
	if !found[1].Is("minprocs") || found[1].Is("m") {
		t.Errorf("--minprocs is not recognised as itself")
	}
}

func FuzzGetopt(f *testing.F) {
	f.Add("-nl\x00a.log\x00--conf=x\x00word")
	f.Add("--\x00-n")
	f.Fuzz(func(t *testing.T, s string) {
		args := strings.Split(s, "\x00")
		found, rest, err := Getopt(testOptions, args)
		if err != nil {
			return
		}
		if len(rest) > len(args) {
			t.Fatal("more words left than there were")
		}
		// What was found, written out in full, is found again.
		var again []string
		for _, o := range found {
			again = append(again, o.Flag)
			if o.Option.Arg {
				again = append(again, o.Arg)
			}
		}
		found2, _, err := Getopt(testOptions, again)
		if err != nil || len(found2) != len(found) {
			t.Fatalf("%q: %v", again, err)
		}
	})
}
