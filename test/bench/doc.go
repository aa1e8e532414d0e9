// Package bench measures how the cost of a packet grows with the configuration: `make bench-growth`.
package bench
