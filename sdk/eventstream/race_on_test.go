//go:build race

package eventstream_test

const raceEnabled = true
