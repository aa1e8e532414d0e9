// Package bench measures how the cost of a packet or an event grows with the configuration: `make bench-growth`.
package bench
