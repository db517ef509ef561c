package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"sup/lib/cli"
	"sup/lib/config"
	"sup/lib/password"
)

func hashVerb() *verb {
	return &verb{
		name:  "hash",
		args:  "[--scheme argon2id|bcrypt|sha]",
		short: "hash a password, for password= or a file of users",
		help: `
Asks for a password on the terminal, twice, without showing it; if standard
input is no terminal, its first line is the password. Prints one line that can
stand after password = in a section of a server, or after NAME: in the file
that users_file= names:

    password = {ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$…

argon2id (the default) is the best of the three. bcrypt is what htpasswd -B
writes, and takes 72 bytes at most. sha is all that Supervisor understands: who
gets hold of it can try millions of passwords a second.

supctl sends the password itself, so its section has that in plain text.`,
		opts: []cli.Option{{Long: "scheme", Arg: true}},
		run:  runHash,
	}
}

func runHash(c *command) int {
	if len(c.args) > 0 {
		// It may be the password; it is not repeated.
		return c.usage(errors.New("a password is never an argument, which others can see: type it when asked, or write it to standard input"))
	}
	scheme, given := c.opt("scheme")
	if !given {
		scheme = password.Schemes[0]
	}
	if !known(scheme) {
		err := fmt.Errorf("there is no scheme %q", scheme)
		if near := config.Nearest(scheme, password.Schemes); near != "" {
			err = fmt.Errorf("there is no scheme %q; did you mean %s?", scheme, near)
		}
		return c.usage(err)
	}
	text, err := c.readPassword()
	if err == nil && text == "" {
		err = errors.New("the password is empty")
	}
	var hash string
	if err == nil {
		hash, err = password.Make(scheme, []byte(text))
	}
	if err != nil {
		return c.fail(err)
	}
	fmt.Fprintln(c.Out, hash)
	return exitOK
}

func known(scheme string) bool {
	for _, s := range password.Schemes {
		if s == scheme {
			return true
		}
	}
	return false
}

// maxPassword bounds a password, in bytes.
const maxPassword = 4096

// readPassword asks for a password, or reads it from standard input if that is
// no terminal.
func (c *command) readPassword() (string, error) {
	if !cli.IsTerminal(c.In) {
		line, err := bufio.NewReader(io.LimitReader(c.In, maxPassword+2)).ReadString('\n')
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		switch {
		case err != nil && err != io.EOF:
			return "", fmt.Errorf("cannot read standard input: %w", err)
		case len(line) > maxPassword:
			return "", fmt.Errorf("a password may have %d bytes", maxPassword)
		}
		return line, nil
	}
	first, err := cli.ReadPassword("Password: ")
	if err != nil {
		return "", err
	}
	again, err := cli.ReadPassword("Once more: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two are not the same")
	}
	return first, nil
}
