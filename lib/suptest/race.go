//go:build race

package suptest

import "os"

const raceDetector = true

// A program that is built with the race detector sleeps for a second before it
// exits, unless it is told not to; a client that lives for some milliseconds is
// called hundreds of times.
func init() {
	if _, ok := os.LookupEnv("GORACE"); !ok {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
}
