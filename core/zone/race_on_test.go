//go:build race

package zone

// raceEnabled says that allocations cannot be counted.
const raceEnabled = true
