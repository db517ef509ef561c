//go:build race

package suptest

const raceDetector = true
