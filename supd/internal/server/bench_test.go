package server

import (
	"bufio"
	"fmt"
	"io"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"sup/lib/rpc"
)

// benchCalls measures one client on one connection.
func benchCalls(b *testing.B, method string, processes int) {
	f := newFake()
	f.infos = nil
	for i := range processes {
		n := fmt.Sprintf("p%04d", i)
		log := "/var/log/some/where/logs/" + n + ".log"
		f.infos = append(f.infos, rpc.ProcessInfo{Name: n, Group: n, Start: 1790000000, Now: 1790000100, State: 20, StateName: "RUNNING",
			Logfile: log, StdoutLogfile: log, PID: 10000 + i, Description: "pid 10000, uptime 0:01:40"})
	}
	s := newSite(b, f, Options{})
	c := s.dial()
	c.SetDeadline(time.Time{})
	req := []byte(post(callBody(method)))
	br := bufio.NewReaderSize(c, 64<<10)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Write(req); err != nil {
			b.Fatal(err)
		}
		length := 0
		for {
			line, err := br.ReadSlice('\n')
			if err != nil {
				b.Fatal(err)
			}
			if len(line) <= 2 {
				break
			}
			if v, ok := strings.CutPrefix(string(line), "Content-Length: "); ok {
				length, _ = strconv.Atoi(textproto.TrimString(v))
			}
		}
		if _, err := br.Discard(length); err != nil && err != io.EOF {
			b.Fatal(err)
		}
	}
}

func BenchmarkGetState(b *testing.B)             { benchCalls(b, "supervisor.getState", 200) }
func BenchmarkGetAllProcessInfo200(b *testing.B) { benchCalls(b, "supervisor.getAllProcessInfo", 200) }
