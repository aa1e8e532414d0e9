//go:build race

package application

const raceEnabled = true
