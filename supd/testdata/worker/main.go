// Worker is what the tests of supd supervise where they must be certain that
// nothing ran twice and no line is missing.
//
//	worker lines NAME   writes "NAME 1", "NAME 2", …, as fast as WORKER_PAUSE
//	                    lets it, until SIGTERM
//	worker listen FILE  is an event listener that appends each event to FILE,
//	                    as a line: header, tab, first line of the payload
//	worker answer FILE  is an event listener that does nothing but answer; at an
//	                    event of type "end" it writes into FILE how many events it
//	                    had before, and within how many nanoseconds
//	worker say N        writes N lines of 100 bytes in a second, until it is killed
//	worker pour N       writes 100 times as much, in pieces of 100 lines
//	worker break KIND   is an event listener, or a program with captured sections,
//	                    that breaks the protocol in one of some ways
//
// Of NAME there may be one at a time: it holds a lock on NAME.lock, and who finds
// it taken says so in the file "twice". NAME.runs has a line "began PID" and,
// after SIGTERM, "ended PID" for each run; NAME.count is the number of the
// last line written, from which the next run goes on.
package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: worker lines NAME | listen FILE | answer FILE | say N | pour N | break KIND")
		os.Exit(2)
	}
	var err error
	switch os.Args[1] {
	case "lines":
		err = lines(os.Args[2])
	case "listen":
		err = listen(os.Args[2])
	case "answer":
		err = answer(os.Args[2])
	case "say":
		err = say(os.Args[2], 1)
	case "pour":
		err = say(os.Args[2], 100)
	case "break":
		err = breakProtocol(os.Args[2])
	default:
		err = fmt.Errorf("unknown kind %q", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

// note appends a line to a file, in one piece.
func note(file, format string, args ...any) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = fmt.Fprintf(f, format+"\n", args...)
	return err
}

func lines(name string) error {
	// Before anything else: a stop may come at once.
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)

	lock, err := os.OpenFile(name+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = note("twice", "%s: pid %d finds the lock taken", name, os.Getpid())
		return err
	}
	if err := note(name+".runs", "began %d", os.Getpid()); err != nil {
		return err
	}
	count, err := os.OpenFile(name+".count", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(count)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	pause, _ := time.ParseDuration(os.Getenv("WORKER_PAUSE"))
	for {
		select {
		case <-term:
			return note(name+".runs", "ended %d", os.Getpid())
		case <-time.After(pause):
		}
		n++
		// A line is one write: it is either out or not.
		if _, err := fmt.Printf("%s %d\n", name, n); err != nil {
			_ = note("broken", "%s: %v", name, err)
			return err
		}
		if _, err := count.WriteAt(fmt.Appendf(nil, "%d\n", n), 0); err != nil {
			return err
		}
	}
}

func listen(file string) error {
	return converse(func(header, first string) error { return note(file, "%s\t%s", header, first) })
}

func answer(file string) error {
	var began time.Time
	count := 0
	return converse(func(_, first string) error {
		switch {
		case first == "type:end":
			return note(file, "%d %d", count, time.Since(began))
		case count == 0:
			began = time.Now()
		}
		count++
		return nil
	})
}

// converse is an event listener that has each event handled: its header, and the
// first line of its payload.
func converse(handle func(header, first string) error) error {
	in := bufio.NewReader(os.Stdin)
	reply := "READY\n"
	for {
		if _, err := io.WriteString(os.Stdout, reply); err != nil {
			return err
		}
		header, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		_, text, _ := strings.Cut(strings.TrimSpace(header), "len:")
		size, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("header %q: %w", header, err)
		}
		payload := make([]byte, size)
		if _, err := io.ReadFull(in, payload); err != nil {
			return err
		}
		first, _, _ := strings.Cut(string(payload), "\n")
		if err := handle(strings.TrimSpace(header), first); err != nil {
			return err
		}
		reply = "RESULT 2\nOKREADY\n"
	}
}

func say(rate string, lines int) error {
	n, err := strconv.Atoi(rate)
	if err != nil || n <= 0 {
		return fmt.Errorf("%q is no rate", rate)
	}
	line := strings.Repeat(strings.Repeat("x", 99)+"\n", lines)
	for range time.Tick(time.Second / time.Duration(n)) {
		if _, err := io.WriteString(os.Stdout, line); err != nil {
			return err
		}
	}
	return nil
}
