package state

import (
	"encoding/binary"
	"hash/fnv"
)

// The lock file also has a ring of records, one for each of the latest runs:
// that a program is about to be started, and that it was, is on record at once,
// while the state follows a moment later. A program that has ended by the time
// somebody looks for its mark would else be started again, and not counted, by
// the daemon after one that was killed.

const (
	ownerSize   = 32 // of the line about who has the lock
	recordSize  = 24
	recordCount = 1024
)

// Started is a run on record.
type Started struct {
	Run int64
	PID int // 0 if it was about to be started
}

// Note puts a run of a process on record, with pid 0 before there is one. It may
// be called beside all else, but not for one run by two goroutines at a time.
func (d *Dir) Note(process string, run int64, pid int) error {
	var record [recordSize]byte
	binary.LittleEndian.PutUint64(record[:], uint64(run))
	binary.LittleEndian.PutUint64(record[8:], uint64(pid))
	binary.LittleEndian.PutUint64(record[16:], digest(process, run, pid))
	_, err := d.lock.WriteAt(record[:], ownerSize+run%recordCount*recordSize)
	return err
}

// LatestRun is the latest run of a process that is on record.
func (d *Dir) LatestRun(process string) (latest Started, ok bool) {
	for _, s := range d.onRecord {
		if s.Run > latest.Run && s.digest == digest(process, s.Run, s.PID) {
			latest, ok = s.Started, true
		}
	}
	return latest, ok
}

// PIDOf is the pid that a run of a process has had, 0 if that is not on record.
func (d *Dir) PIDOf(process string, run int64) int {
	for _, s := range d.onRecord {
		if s.Run == run && s.digest == digest(process, s.Run, s.PID) {
			return s.PID
		}
	}
	return 0
}

// MostRuns is the highest number of a run that is on record.
func (d *Dir) MostRuns() (most int64) {
	for _, s := range d.onRecord {
		most = max(most, s.Run)
	}
	return most
}

// recorded is a record as it was found.
type recorded struct {
	Started
	digest uint64
}

// readRecords reads what the daemon before has put on record.
func (d *Dir) readRecords() {
	text := make([]byte, recordCount*recordSize)
	n, _ := d.lock.ReadAt(text, ownerSize)
	for text = text[:n]; len(text) >= recordSize; text = text[recordSize:] {
		run, pid := int64(binary.LittleEndian.Uint64(text)), int(binary.LittleEndian.Uint64(text[8:]))
		if run > 0 && pid >= 0 {
			d.onRecord = append(d.onRecord, recorded{Started{run, pid}, binary.LittleEndian.Uint64(text[16:])})
		}
	}
}

// digest tells of which process a record is, and that it is whole.
func digest(process string, run int64, pid int) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(process))
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(run)))
	_, _ = h.Write(binary.LittleEndian.AppendUint64(nil, uint64(pid)))
	return h.Sum64()
}
