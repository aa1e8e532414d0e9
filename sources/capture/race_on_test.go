//go:build race

package capture

// raceEnabled says that allocations cannot be counted.
const raceEnabled = true
