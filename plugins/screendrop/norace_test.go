//go:build !race

package screendrop

const raceEnabled = false
