//go:build !race

package filterlog

const raceEnabled = false
