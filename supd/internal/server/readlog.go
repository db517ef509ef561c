package server

import (
	"errors"
	"io"
	"io/fs"

	"golang.org/x/sys/unix"

	"sup/lib/logfile"
	"sup/lib/rpc"
	"sup/lib/safepath"
)

// smallLog is how much of a log is put into an answer as a whole, in bytes;
// more is sent from the file.
const smallLog = 256 << 10

// maxLog is how much of a log may be asked for at once. It has to be read twice.
const maxLog = 16 << 30

// readLog writes a part of the log at path.
func (c *call) readLog(path string, offset, length int64) error {
	if path == "" {
		return rpc.NewFault(rpc.NoFile, "")
	}
	// That the file is not there matters more than the arguments.
	st, err := safepath.Stat(path)
	found := err == nil
	if errors.Is(err, fs.ErrNotExist) {
		return rpc.NewFault(rpc.NoFile, path)
	}
	section, err := logfile.OpenSection(path, offset, length)
	switch {
	case errors.Is(err, logfile.ErrRange):
		return rpc.NewFault(rpc.BadArguments, "")
	case errors.Is(err, fs.ErrNotExist):
		return rpc.NewFault(rpc.NoFile, path)
	case err != nil && found && isNull(&st):
		c.out.enc.String("")
		return nil
	case err != nil:
		return rpc.NewFault(rpc.Failed, "")
	}
	return c.writeLog(section)
}

// isNull tells whether a log is /dev/null, which many use for "no log" and which
// can be read: it is empty.
func isNull(st *unix.Stat_t) bool {
	return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 1<<8|3
}

func (c *call) readProcessLog(channel string) error {
	return c.onProcess(func(group, process string) error {
		path, err := c.srv.backend.LogPath(c.ctx, group, process, channel)
		if err != nil {
			return err
		}
		return c.readLog(path, c.args[1].n, c.args[2].n)
	})
}

// writeLog writes a part of a log as a string, and closes it.
func (c *call) writeLog(section *logfile.Section) error {
	enc := &c.out.enc
	enc.BeginString()
	if section.Size() > smallLog && !c.multi {
		if section.Size() > maxLog {
			section.Close()
			return errTooLarge
		}
		if err := c.out.setLog(section, c.conn.left); err != nil {
			return rpc.NewFault(rpc.Failed, "")
		}
		enc.EndString()
		return nil
	}
	defer section.Close()
	if int64(enc.Len())+section.Size() > maxMulticall {
		return errTooLarge
	}
	text, err := io.ReadAll(section)
	if err != nil {
		return rpc.NewFault(rpc.Failed, "")
	}
	enc.Text(string(text))
	enc.EndString()
	return nil
}

func (c *call) tailProcessLog(channel string) error {
	return c.onProcess(func(group, process string) error {
		path, err := c.srv.backend.LogPath(c.ctx, group, process, channel)
		if err != nil {
			return err
		}
		return c.tailLog(path, c.args[1].n, c.args[2].n)
	})
}

// tailLog writes the end of a log, its size and whether something was left
// out. What cannot be read is empty, and never a fault.
func (c *call) tailLog(path string, offset, length int64) error {
	enc := &c.out.enc
	enc.BeginArray()
	size, overflow := int64(0), false
	if path == "" {
		enc.String("")
	} else if length <= smallLog {
		var data []byte
		var err error
		if data, size, overflow, err = logfile.Tail(path, offset, length); err != nil && !errors.Is(err, fs.ErrNotExist) {
			if st, err := safepath.Stat(path); err != nil || !isNull(&st) {
				size = offset
			}
		}
		enc.String(string(data))
	} else if section, n, over := tailSection(path, offset, length); section != nil {
		size, overflow = n, over
		if err := c.writeLog(section); err != nil {
			return err
		}
	} else {
		size = n
		enc.String("")
	}
	enc.Int(size)
	enc.Bool(overflow)
	enc.EndArray()
	return nil
}

// tailSection is logfile.Tail for more than fits into memory. The section is nil
// if there is nothing to send.
func tailSection(path string, offset, length int64) (section *logfile.Section, size int64, overflow bool) {
	st, err := safepath.Stat(path)
	if err != nil {
		return nil, 0, false
	}
	if isNull(&st) {
		return nil, 0, false
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return nil, offset, false
	}
	size = st.Size
	overflow = offset < size-length
	n := min(length, size)
	if n == 0 || offset >= size && !overflow {
		return nil, size, overflow
	}
	section, err = logfile.OpenSection(path, size-n, n)
	if err != nil {
		return nil, size, overflow
	}
	return section, size, overflow
}
