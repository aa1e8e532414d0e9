// Package bench measures how the cost of a packet or an event grows with the configuration (`make bench-growth`), and what the
// program costs beside others that do the same.
package bench
