package record

import (
	"fmt"
	"strings"
	"time"
)

// Of equal entries the first manyTimes within a window are written; those that
// follow are counted, and written as one when the window is over.
const (
	manyTimes = 10
	window    = time.Minute
	// mostSeries bounds how many series are looked at. What comes beyond is written.
	mostSeries = 1000
)

// repeats finds entries that come again and again. It belongs to the writer.
type repeats struct {
	series map[string]*series
	// waiting counts the series with entries that are counted.
	waiting int
}

type series struct {
	since time.Time // of the window
	n     int
	// last is the latest that was counted, Count of how many.
	last Entry
}

// key is equal for entries that say the same. Of a call that has failed the name
// and the reason, its signal, do not matter: they may be what the client has made
// up.
func key(e *Entry) string {
	name, reason, result := e.Name, e.Reason, e.Result
	if e.Kind == Call && result != OK {
		name, reason = "", ""
		result, _, _ = strings.Cut(result, ":") // which quotes the name
	}
	who := ""
	if e.Who != nil {
		who = fmt.Sprint(e.Who.UID, " ", host(e.Who.Addr), " ", e.Who.User)
	}
	return fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%s\x00%d\x00%s\x00%s\x00%s", e.Kind, name, e.From, e.To, reason, e.Tries, who, e.Method, result)
}

// OK is the result of a call that has done what it was to do.
const OK = "ok"

// host is an address without its port.
func host(addr string) string {
	for i := len(addr) - 1; i >= 0; i-- {
		if addr[i] == ':' {
			return addr[:i]
		}
	}
	return addr
}

// written tells whether an entry is to be written, and not counted. First come
// those that were counted in a window that is over.
func (r *repeats) written(e Entry, now time.Time) (before []Entry, write bool) {
	k := key(&e)
	s := r.series[k]
	if s == nil {
		if len(r.series) >= mostSeries {
			before = r.over(now)
		}
		if len(r.series) < mostSeries {
			if r.series == nil {
				r.series = map[string]*series{}
			}
			r.series[k] = &series{since: now, n: 1}
		}
		return before, true
	}
	if now.Sub(s.since) >= window {
		if s.last.Count > 0 {
			before = append(before, s.last)
			r.waiting--
		}
		*s = series{since: now}
	}
	if s.n++; s.n <= manyTimes {
		return before, true
	}
	if s.last.Count == 0 {
		r.waiting++
	}
	e.Count = s.last.Count + 1
	s.last = e
	return before, false
}

// over forgets the series whose windows are over, and returns what was counted in
// them.
func (r *repeats) over(now time.Time) (entries []Entry) {
	for k, s := range r.series {
		if now.Sub(s.since) < window {
			continue
		}
		if s.last.Count > 0 {
			entries = append(entries, s.last)
			r.waiting--
		}
		delete(r.series, k)
	}
	return entries
}

// all forgets everything, and returns what was counted.
func (r *repeats) all() (entries []Entry) { return r.over(time.Now().Add(2 * window)) }
