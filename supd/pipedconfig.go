package main

import (
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"sup/lib/config"
)

// A configuration that comes through a pipe can be read once: by the command that
// was typed. The daemon that it starts finds the text in a memory file.

// pipedVar names, in the environment of the daemon-to-be, the descriptor of that.
const pipedVar = "SUPD_CONFIG_FD"

// pipedConfig reads the main file if it is a pipe; nil stands for one that can be
// read at any time.
func pipedConfig(file string) (*string, error) {
	if number, ok := os.LookupEnv(pipedVar); ok {
		os.Unsetenv(pipedVar)
		if fd, err := strconv.Atoi(number); err == nil && fd > 2 {
			f := os.NewFile(uintptr(fd), "configuration")
			defer f.Close()
			text, err := io.ReadAll(f)
			s := string(text)
			return &s, err
		}
	}
	if file == "" {
		return nil, nil
	}
	return config.ReadPipe(file)
}

// pipeFile is a memory file with the text.
func pipeFile(text string) (*os.File, error) {
	fd, err := unix.MemfdCreate("configuration", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "configuration")
	_, err = f.WriteString(text)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}
