//go:build !race

package packet

// raceEnabled says that allocations cannot be counted.
const raceEnabled = false
