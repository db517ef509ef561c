package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"sup/lib/spawn"
)

// A Go program cannot fork without exec. So the command that is to leave a
// daemon behind starts itself once more, in a session of its own, and waits
// until that one has everything it needs (its log, its sockets) or has failed.
// Errors at start thus show on the terminal, with the exit status they have.

// readyVar names, in the environment of the daemon-to-be, the descriptor on
// which it says that it is ready.
const readyVar = "SUPD_READY_FD"

// launch starts the daemon and waits for its word. The result is the exit
// status for the command. Self is the path of our own file, piped the text of a
// configuration that cannot be read again.
func launch(self string, args []string, piped *string, stderr io.Writer) int {
	r, w, err := os.Pipe()
	if err != nil {
		fmt.Fprintf(stderr, "Error: cannot daemonize: %v\n", err)
		return 1
	}
	spawner, err := spawn.NewSpawner()
	if err != nil {
		fmt.Fprintf(stderr, "Error: %v\n", err)
		return 1
	}
	env := spawn.Environ(os.Environ(), [2]string{readyVar, "3"})
	files := []int{0, 1, 2, int(w.Fd())}
	if piped != nil {
		text, err := pipeFile(*piped)
		if err != nil {
			fmt.Fprintf(stderr, "Error: cannot keep the configuration: %v\n", err)
			return 1
		}
		defer text.Close()
		env = spawn.Environ(env, [2]string{pipedVar, strconv.Itoa(len(files))})
		files = append(files, int(text.Fd()))
	}
	pid, err := spawner.Start(&spawn.Command{
		Name: "supd", Path: self, Argv: args, Umask: -1, UID: -1, Env: env, Files: files,
	})
	w.Close()
	if err != nil {
		fmt.Fprintf(stderr, "Error: %v\n", err)
		return 1
	}
	word, _ := io.ReadAll(r)
	if string(word) == "ready" {
		return 0
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if status.Exited() && status.ExitStatus() != 0 {
		return status.ExitStatus()
	}
	return 1
}

// detacher is the daemon's side of launch; nil in the foreground.
type detacher struct{ ready *os.File }

// daemonToBe tells whether this process was started by launch.
func daemonToBe() (*detacher, bool) {
	text, ok := os.LookupEnv(readyVar)
	if !ok {
		return nil, false
	}
	os.Unsetenv(readyVar)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil, false
	}
	unix.CloseOnExec(fd)
	return &detacher{os.NewFile(uintptr(fd), "launcher")}, true
}

// detach leaves the terminal and lets the command that started us end.
func (d *detacher) detach() error {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open /dev/null: %w", err)
	}
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("cannot redirect descriptor %d: %w", fd, err)
		}
	}
	unix.Close(null)
	_, err = d.ready.WriteString("ready")
	d.ready.Close()
	return err
}
