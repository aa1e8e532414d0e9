//go:build race

package unixsock_test

const raceEnabled = true
