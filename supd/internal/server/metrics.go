package server

import (
	"net/http"
	"runtime"
	"strconv"
	"strings"

	"sup/lib/rpc"
	"sup/lib/value"
)

// metricsType is version 0.0.4 of Prometheus's text format, which every
// collector of metrics reads. Writing it takes a few lines; the client library
// would add more to the memory of an idle daemon than its programs do.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// serveMetrics serves what a monitor wants to know, by name of the process.
func (ep *endpoint) serveMetrics(w http.ResponseWriter, r *http.Request) {
	s := ep.srv
	procs, err := s.backend.AllProcessInfo(r.Context())
	if err != nil {
		fail(w, http.StatusServiceUnavailable)
		return
	}
	logs, err := s.backend.AllLogHealth(r.Context())
	if err != nil {
		fail(w, http.StatusServiceUnavailable)
		return
	}
	reply(w, http.StatusOK, metricsType, []byte(metrics(procs, logs, s.aborted.Load())))
}

func metrics(procs []rpc.ProcessInfo, logs []rpc.LogHealth, aborted int64) string {
	var b strings.Builder
	family := func(name, kind, help string) {
		b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " " + kind + "\n")
	}
	process := func(name string, value func(*rpc.ProcessInfo) int64) {
		for i := range procs {
			p := &procs[i]
			b.WriteString(name + labels("group", p.Group, "name", p.Name) + " " + strconv.FormatInt(value(p), 10) + "\n")
		}
	}
	family("sup_process_up", "gauge", "1 if the process is RUNNING, else 0.")
	process("sup_process_up", func(p *rpc.ProcessInfo) int64 { return boolean(p.StateName == "RUNNING") })
	family("sup_process_state", "gauge", "State code of the process, as in getProcessInfo.")
	process("sup_process_state", func(p *rpc.ProcessInfo) int64 { return int64(p.State) })
	family("sup_process_start_time_seconds", "gauge", "Unix time of the last start, 0 if there was none.")
	process("sup_process_start_time_seconds", func(p *rpc.ProcessInfo) int64 { return p.Start })
	family("sup_process_exit_status", "gauge", "Exit status of the last end of the process.")
	process("sup_process_exit_status", func(p *rpc.ProcessInfo) int64 { return int64(p.ExitStatus) })
	log := func(name string, value func(rpc.LogHealth) string) {
		for _, l := range logs {
			b.WriteString(name + labels("group", l.Group, "name", l.Name, "channel", l.Channel) + " " + value(l) + "\n")
		}
	}
	family("sup_log_failing", "gauge", "1 if the log cannot be written at present, else 0.")
	log("sup_log_failing", func(l rpc.LogHealth) string { return strconv.FormatInt(boolean(l.Failing), 10) })
	family("sup_log_dropped_bytes_total", "counter", "Bytes given up because the log could not be written.")
	log("sup_log_dropped_bytes_total", func(l rpc.LogHealth) string { return strconv.FormatUint(l.Dropped, 10) })
	family("sup_http_aborted_total", "counter", "Requests whose clients did not wait for the answer.")
	b.WriteString("sup_http_aborted_total " + strconv.FormatInt(aborted, 10) + "\n")
	family("go_goroutines", "gauge", "Number of goroutines of the daemon.")
	b.WriteString("go_goroutines " + strconv.Itoa(runtime.NumGoroutine()) + "\n")
	return b.String()
}

func boolean(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labels writes names and values by turns.
func labels(pairs ...string) string {
	text := "{"
	for i := 0; i < len(pairs); i += 2 {
		if i > 0 {
			text += ","
		}
		text += pairs[i] + `="` + labelEscapes.Replace(value.Printable(pairs[i+1])) + `"`
	}
	return text + "}"
}
