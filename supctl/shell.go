package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"syscall"

	"sup/lib/cli"
	"sup/lib/trust"
)

// useTerminal prepares for editing lines, if there is a terminal to do so.
func (s *session) useTerminal(streams cli.Streams) {
	if !cli.IsTerminal(streams.In) || !cli.IsTerminal(streams.Out) {
		return
	}
	s.editor = cli.NewEditor(s.in, streams.In.(*os.File), streams.Out.(*os.File), s.candidates)
}

// shell reads actions and carries them out, until the end of the input, quit,
// or an interrupt.
func (s *session) shell() {
	if s.editor != nil && s.historyFile != "" && s.ownHistory() {
		// There is none before the first time, and the shell is of use
		// without one.
		_ = s.editor.History().Load(s.historyFile)
		defer func() { _ = s.editor.History().Save(s.historyFile) }()
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, release := s.interrupts.register(ctx)
	defer release()

	s.perform(ctx, "status")
	for ctx.Err() == nil {
		line, err := s.readLine(ctx, s.prompt+"> ", true)
		if err != nil {
			break
		}
		if s.perform(ctx, line) {
			return
		}
	}
	s.printf("")
}

// ownHistory tells whether the history goes where the caller wants it: not if
// root uses a configuration that somebody else can write, who could so have any
// file of root's replaced.
func (s *session) ownHistory() bool {
	return s.historyGiven || os.Geteuid() != 0 || s.file == nil || s.file.File == "" || trust.Path(s.file.File) == nil
}

// readLine prompts for a line and reads it: with an editor on a terminal,
// plainly otherwise. The error is io.EOF at the end of the input.
func (s *session) readLine(ctx context.Context, prompt string, remember bool) (string, error) {
	if s.editor != nil {
		return s.editor.ReadLine(ctx, prompt, remember)
	}
	io.WriteString(s.out, prompt)
	return s.in.ReadLine(ctx)
}

// login asks for credentials, which are kept for the session.
func (s *session) login(ctx context.Context) error {
	username, err := s.ask(ctx, "Username:", false)
	if err != nil {
		return err
	}
	password, err := s.ask(ctx, "Password:", true)
	if err != nil {
		return err
	}
	s.printf("")
	s.username, s.password = &username, &password
	s.disconnect()
	return nil
}

// askUser asks for a name, or, hidden, for a password, which is not shown
// while it is typed: it is read from the terminal, if the process has one at
// all.
func (s *session) askUser(ctx context.Context, prompt string, hidden bool) (string, error) {
	if !hidden {
		return s.readLine(ctx, prompt, false)
	}
	if s.editor != nil {
		return s.editor.ReadPassword(ctx, prompt)
	}
	password, err := cli.ReadPassword(prompt)
	if errors.Is(err, cli.ErrNoTerminal) {
		io.WriteString(s.err, prompt)
		return s.in.ReadLine(ctx)
	}
	return password, err
}
