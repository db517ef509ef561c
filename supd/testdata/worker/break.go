package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// breakProtocol does what no listener, and no program that has sections captured,
// should do, and does not stop.
func breakProtocol(kind string) error {
	in := bufio.NewReader(os.Stdin)
	event := func() error {
		header, err := in.ReadString('\n')
		if err != nil {
			return err
		}
		_, length, _ := strings.Cut(header, "len:")
		n, err := strconv.Atoi(strings.TrimSpace(length))
		if err != nil {
			return err
		}
		_, err = in.Discard(n)
		return err
	}
	write := func(p []byte) error {
		_, err := os.Stdout.Write(p)
		return err
	}
	one := func(p []byte) (err error) {
		for i := 0; i < len(p) && err == nil; i++ {
			err = write(p[i : i+1])
		}
		return err
	}
	begin, end := []byte("<!--XSUPERVISOR:BEGIN-->"), []byte("<!--XSUPERVISOR:END-->")
	much := bytes.Repeat([]byte("x"), 1<<16)

	// What is written once, and what for ever.
	var first, forever func() error
	after := func(p string) func() error {
		return func() error {
			if err := write([]byte("READY\n")); err != nil {
				return err
			}
			if err := event(); err != nil {
				return err
			}
			return write([]byte(p))
		}
	}
	pour := func() error { return write(much) }
	switch kind {
	case "junk":
		forever = pour
	case "ready":
		forever = func() error { return write(bytes.Repeat([]byte("READY\n"), 1000)) }
	case "bytes":
		forever = func() error {
			if err := one([]byte("READY\n")); err != nil {
				return err
			}
			if err := event(); err != nil {
				return err
			}
			return one([]byte("RESULT 2\nOK"))
		}
	case "noline":
		first, forever = after("R"), pour
	case "huge":
		first, forever = after("RESULT 99999999999999999999\n"), pour
	case "mega":
		first, forever = after("RESULT 1048576\n"), pour
	case "negative":
		first, forever = after("RESULT -1\n"), event
	case "reject":
		forever = after("RESULT 4\nFAIL")
	case "deaf":
		first = func() error { return write([]byte("READY\n")) }
		forever = func() error { select {} }
	case "open":
		first, forever = func() error { return write(begin) }, pour
	case "nest":
		forever = func() error { return write(append(bytes.Repeat(begin, 500), bytes.Repeat(end, 500)...)) }
	case "many":
		section := append(append(bytes.Clone(begin), much[:1000]...), end...)
		forever = func() error { return write(bytes.Repeat(section, 60)) }
	case "split":
		forever = func() error { return one(append(append(bytes.Clone(begin), 'q'), end...)) }
	default:
		return fmt.Errorf("unknown way %q", kind)
	}
	if first != nil {
		if err := first(); err != nil {
			return err
		}
	}
	for {
		if err := forever(); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}
