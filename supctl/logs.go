package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"strconv"
	"strings"

	"sup/lib/client"
	"sup/lib/rpc"
)

// tailBytes is how much tail and maintail show of a log.
const tailBytes = 1600

// banner is what is printed before a log is followed.
const banner = "==> Press Ctrl-C to exit <=="

// tail shows the end of a process's log, or follows it.
func tail(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	words := strings.Fields(arg)
	switch {
	case len(words) == 0:
		s.misuse(findAction("tail"), exitGeneric, "too few arguments")
		return nil
	case len(words) > 3:
		s.misuse(findAction("tail"), exitGeneric, "too many arguments")
		return nil
	}
	option := ""
	if strings.HasPrefix(words[0], "-") {
		option, words = words[0], words[1:]
	}
	if len(words) == 0 {
		s.fail(exitGeneric, "Error: tail requires process name")
		return nil
	}
	name, stream := words[0], client.Stdout
	if len(words) > 1 {
		stream = client.Stream(strings.ToLower(words[len(words)-1]))
		if stream != client.Stdout && stream != client.Stderr {
			s.fail(exitGeneric, "Error: bad channel %s", quote(string(stream)))
			return nil
		}
	}
	if option == "-f" {
		return s.follow(ctx, daemon, logPath(name, stream))
	}
	offset, ok, err := tailOffset(option)
	if err != nil {
		return err
	}
	if !ok {
		s.fail(exitGeneric, "Error: bad argument %s", option)
		return nil
	}
	text, err := daemon.ReadProcessLog(ctx, name, stream, offset, 0)
	switch faultCode(err) {
	case rpc.NoFile:
		s.fail(exitGeneric, "%s: ERROR (no log file)", name)
	case rpc.Failed:
		s.fail(exitGeneric, "%s: ERROR (unknown error reading log)", name)
	case rpc.BadName:
		s.fail(exitGeneric, "%s: ERROR (no such process name)", name)
	default:
		if err != nil {
			return err
		}
		s.printf("%s", raw(text))
	}
	return nil
}

// mainTail shows the end of the activity log, or follows it.
func mainTail(ctx context.Context, s *session, daemon *client.Client, arg string) error {
	words := strings.Fields(arg)
	if len(words) > 1 {
		s.misuse(findAction("maintail"), exitGeneric, "too many arguments")
		return nil
	}
	option := ""
	if len(words) == 1 {
		option = words[0]
	}
	if option == "-f" {
		return s.follow(ctx, daemon, "/mainlogtail")
	}
	offset, ok, err := tailOffset(option)
	if err != nil {
		return err
	}
	if !ok {
		s.fail(exitGeneric, "Error: bad argument %s", option)
		return nil
	}
	text, err := daemon.ReadLog(ctx, offset, 0)
	switch faultCode(err) {
	case rpc.NoFile:
		s.fail(exitGeneric, "supervisord: ERROR (no log file)")
	case rpc.Failed:
		s.fail(exitGeneric, "supervisord: ERROR (unknown error reading log)")
	default:
		if err != nil {
			return err
		}
		s.printf("%s", raw(text))
	}
	return nil
}

// quote puts a word into single quotes, or into double ones if it has a single
// one in it.
func quote(word string) string {
	if strings.Contains(word, "'") && !strings.Contains(word, `"`) {
		return `"` + word + `"`
	}
	return "'" + word + "'"
}

// tailOffset turns an option "-N", or "" for the default, into the offset that
// asks for the last N bytes. ok is false if it is no number, err set if it is
// one that XML-RPC cannot carry.
func tailOffset(option string) (offset int64, ok bool, err error) {
	if option == "" {
		return -tailBytes, true, nil
	}
	digits, dash := strings.CutPrefix(option, "-")
	if !dash {
		return 0, false, nil
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange), err == nil && (-n < math.MinInt32 || -n > math.MaxInt32):
		return 0, true, fmt.Errorf("cannot ask for %s bytes: the number is too large", digits)
	case err != nil:
		return 0, false, nil
	}
	return -n, true, nil
}

// logPath is where a process's log can be followed.
func logPath(name string, stream client.Stream) string {
	return "/logtail/" + url.PathEscape(name) + "/" + string(stream)
}

// follow copies a log to the output as it grows, until an interrupt or the end
// of the daemon.
func (s *session) follow(ctx context.Context, daemon *client.Client, path string) error {
	ctx, release := s.interrupts.register(ctx)
	defer release()
	s.printf(banner)
	log, err := daemon.Follow(ctx, path)
	if err != nil && ctx.Err() == nil {
		s.cannotFollow(path, err)
		s.status = exitGeneric
		return nil
	}
	if err == nil {
		defer log.Close()
		io.Copy(s.out, log)
	}
	if ctx.Err() != nil {
		s.printf("")
	}
	return nil
}

// cannotFollow tells on standard error why a log cannot be followed.
func (s *session) cannotFollow(path string, err error) {
	var status *client.StatusError
	if errors.As(err, &status) {
		if plain, err := url.PathUnescape(path); err == nil {
			path = plain
		}
		fmt.Fprintf(s.err, "%s%s Cannot read, status code %d\n", s.serverURL, path, status.Code)
		return
	}
	fmt.Fprintf(s.err, "%s%s Cannot connect, error: %v\n", s.serverURL, path, err)
}
