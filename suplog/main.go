// Suplog writes what it reads to a log file, and rotates it.
//
// Usage:
//
//	program | suplog [options] FILE
//
// Every byte that the program writes is in the file once and in order, also if
// suplog is killed at any moment and started again on the same pipe: plain
// output goes from the pipe to the file inside the kernel. It is there as soon
// as it was written, whether its line has ended or not. Files are rotated where
// a line ends: FILE.1 is the newest backup.
//
// The options are
//
//	-s, --maxbytes SIZE    rotate when FILE has this size, such as 50MB, which is
//	                       the default; 0: never
//	-n, --backups N        keep N rotated files (10); 0: all, under dated names;
//	                       none: start over with an empty file
//	    --compress         pack rotated files with gzip; their names are dated then
//	    --on-full WHAT     what to do when FILE cannot be written and the pipe has
//	                       been full for a second: drop (the oldest lines; they
//	                       are counted, and told on standard error) or block
//	    --strip-ansi       remove escape sequences
//	    --timestamp        put date and time before each line
//	    --prefix NAME      put NAME before each line
//	    --also stdout      copy what is logged to standard output, too
//	    --version, --help
//
// SIGHUP and SIGUSR2 close FILE and open it by its name. SIGTERM and SIGINT
// end suplog at once; what it has not taken stays in the pipe.
//
// Supd starts it with --serve and --control, to write the logs of all its
// programs; see serve.go.
//
// The exit status is 0 at the end of input or after SIGTERM, 1 if FILE could
// not be opened or output had to be given up at the end of input, and 2 if
// suplog was called wrongly.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"sup/lib/cli"
	"sup/lib/logfile"
	"sup/lib/logwire"
	"sup/lib/value"
)

func main() {
	os.Exit(run(os.Args, cli.Standard()))
}

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
)

// arguments are what the command line says.
type arguments struct {
	settings logwire.Settings
	also     bool   // copy to standard output
	serve    string // the state directory, "" for a filter
	control  int    // a descriptor, -1 for none
	done     bool   // help or version was printed
}

var options = []cli.Option{
	{Short: 's', Long: "maxbytes", Arg: true},
	{Short: 'n', Long: "backups", Arg: true},
	{Long: "compress"},
	{Long: "on-full", Arg: true},
	{Long: "strip-ansi"},
	{Long: "timestamp"},
	{Long: "prefix", Arg: true},
	{Long: "also", Arg: true},
	{Long: "serve", Arg: true},
	{Long: "control", Arg: true},
	{Long: "version"},
	{Short: 'h', Long: "help"},
}

const usage = `Usage: program | suplog [options] FILE

Write standard input to FILE, and rotate it.

  -s, --maxbytes SIZE   rotate when FILE has this size (50MB); 0: never
  -n, --backups N       keep N rotated files (10); 0: all, with dated names;
                        none: keep no rotated file
      --compress        pack rotated files with gzip
      --on-full WHAT    when FILE cannot be written and the pipe is full:
                        drop the oldest lines (default), or block
      --strip-ansi      remove escape sequences
      --timestamp       put date and time before each line
      --prefix NAME     put NAME before each line
      --also stdout     copy what is logged to standard output
      --version         print the version and exit
  -h, --help            print this and exit

SIGHUP and SIGUSR2 reopen FILE; SIGTERM ends, and leaves in the pipe what was
not taken. See suplog(1).
`

func run(args []string, std cli.Streams) int {
	a, err := parse(args[1:], std.Out)
	if err != nil {
		return cli.UsageError(std.Err, "suplog", err)
	}
	switch {
	case a.done:
		return exitOK
	case a.control >= 0:
		err = serve(a.control)
	default:
		err = filter(a, std)
	}
	if err != nil {
		fmt.Fprintf(std.Err, "suplog: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// parse reads the command line. Help and version are printed to out.
func parse(args []string, out io.Writer) (arguments, error) {
	a := arguments{control: -1, settings: logwire.Settings{MaxBytes: 50 << 20, Backups: 10}}
	found, rest, err := cli.Getopt(options, args)
	if err != nil {
		return a, err
	}
	for _, f := range found {
		if f.Is("help") {
			a.done = true
			_, err := io.WriteString(out, usage)
			return a, err
		}
		if f.Is("version") {
			a.done = true
			_, err := fmt.Fprintln(out, cli.FullVersion())
			return a, err
		}
		if err := f.Err(); err != nil {
			return a, err
		}
		if err := a.set(f); err != nil {
			return a, &cli.OptionError{Kind: cli.OptionBadValue, Flag: f.Flag, Value: f.Arg, Err: err}
		}
	}
	if a.control >= 0 {
		if len(rest) > 0 {
			return a, errors.New("--control takes no file")
		}
		return a, nil
	}
	switch {
	case a.serve != "":
		return a, errors.New("--serve needs --control")
	case len(rest) == 0:
		return a, errors.New("the file to write is missing")
	case len(rest) > 1:
		return a, errors.New("only one file can be written")
	}
	a.settings.Path = rest[0]
	return a, nil
}

func (a *arguments) set(f cli.Found) (err error) {
	s := &a.settings
	switch f.Option.Long {
	case "maxbytes":
		if s.MaxBytes, err = value.ParseBytes(f.Arg); err == nil && s.MaxBytes < 0 {
			err = errors.New("a size is not negative")
		}
	case "backups":
		if f.Arg == "none" {
			s.Backups = logfile.NoBackups
		} else if s.Backups, err = strconv.Atoi(f.Arg); err != nil || s.Backups < 0 {
			err = errors.New(`it is a number, or "none"`)
		}
	case "compress":
		s.Compress = true
	case "on-full":
		switch f.Arg {
		case "drop":
			s.OnFull = logwire.Drop
		case "block":
			s.OnFull = logwire.Block
		default:
			err = errors.New(`it is "drop" or "block"`)
		}
	case "strip-ansi":
		s.StripANSI = true
	case "timestamp":
		s.Timestamp = true
	case "prefix":
		s.Prefix = f.Arg
	case "also":
		if a.also = f.Arg == "stdout"; !a.also {
			err = errors.New(`it can only be "stdout"`)
		}
	case "serve":
		a.serve = f.Arg
	case "control":
		if a.control, err = strconv.Atoi(f.Arg); err != nil || a.control < 0 {
			err = errors.New("it is the number of a descriptor")
		}
	}
	return err
}

// rotation gives how a file is to be rotated.
func rotation(s *logwire.Settings) logfile.Options {
	o := logfile.Options{
		Mode: s.Mode, MaxBytes: s.MaxBytes, Backups: s.Backups,
		Dated: s.Dated, Compress: s.Compress, MaxAgeDays: s.MaxAgeDays,
	}
	switch s.Rotate {
	case logwire.RotateHourly:
		o.Every = logfile.Hourly
	case logwire.RotateDaily:
		o.Every = logfile.Daily
	}
	return o
}
