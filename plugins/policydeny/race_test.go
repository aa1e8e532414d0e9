//go:build race

package policydeny

const raceEnabled = true
