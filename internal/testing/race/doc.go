// Package race tells a test whether it runs under the race detector, which allocates and takes its time: such a test neither
// counts allocations nor does as much.
package race
