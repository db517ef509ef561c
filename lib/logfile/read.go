package logfile

import (
	"errors"
	"io"
	"os"

	"sup/lib/safepath"
)

// ErrRange is returned for an offset and a length that do not go together.
var ErrRange = errors.New("bad offset or length")

// ErrNoFile is returned for a log that is there but has no content to read: a
// terminal, a FIFO, a directory.
var ErrNoFile = errors.New("not a regular file")

// MaxRead bounds what Read and Tail return, in bytes, so that one request
// cannot take all memory; who wants more asks again, or uses Section.
const MaxRead = 64 << 20

// openRegular opens the log at path for reading. It does not wait for the
// writer of a FIFO.
func openRegular(path string) (*os.File, int64, error) {
	f, err := safepath.OpenFile(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, err
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = ErrNoFile
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, fi.Size(), nil
}

// Section is part of a log, as a stream.
type Section struct {
	*io.SectionReader
	file *os.File
}

// Close closes the file.
func (s *Section) Close() error { return s.file.Close() }

// OpenSection gives the part of the log at path that offset and length mean,
// in bytes, as Supervisor's readLog does:
//
//	offset  length
//	 ≥ 0     > 0    at most length bytes from offset on
//	 ≥ 0       0    all from offset on
//	 < 0       0    the last -offset bytes
//
// Everything else is ErrRange. A log that is not there gives an error that is
// [fs.ErrNotExist], one that has no content ErrNoFile.
func OpenSection(path string, offset, length int64) (*Section, error) {
	if length < 0 || offset < 0 && length != 0 {
		return nil, ErrRange
	}
	f, size, err := openRegular(path)
	if err != nil {
		return nil, err
	}
	start := min(offset, size)
	if offset < 0 {
		start = max(size+offset, 0)
	}
	n := size - start
	if length > 0 {
		n = min(n, length)
	}
	return &Section{io.NewSectionReader(f, start, n), f}, nil
}

// Read returns what OpenSection describes, at most MaxRead bytes of it.
func Read(path string, offset, length int64) ([]byte, error) {
	s, err := OpenSection(path, offset, length)
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return readPart(s, min(s.Size(), MaxRead))
}

// readPart reads n bytes, or fewer where the file was cut meanwhile.
func readPart(r io.Reader, n int64) ([]byte, error) {
	p := make([]byte, n)
	got, err := io.ReadFull(r, p)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	return p[:got], err
}

// Tail returns the end of the log at path as Supervisor's tail methods do: the
// last length bytes unless the caller, who has seen the log up to offset, has
// seen all; the log's size, which is the offset to ask for next; and whether
// the log grew by more than length since. A log that cannot be read is empty;
// the error is for those who want to know.
func Tail(path string, offset, length int64) (data []byte, size int64, overflow bool, err error) {
	f, size, err := openRegular(path)
	if err != nil {
		return nil, 0, false, err
	}
	defer f.Close()
	// A length below 0 counts here, as in Supervisor, though nothing is read.
	overflow = offset < size-max(length, -1<<62)
	if offset >= size && !overflow {
		return nil, size, false, nil
	}
	n := min(max(length, 0), size, MaxRead)
	data, err = readPart(io.NewSectionReader(f, size-n, n), n)
	return data, size, overflow, err
}
