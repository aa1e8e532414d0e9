// Package race tells a test whether it runs under the race detector.
//
// The detector allocates memory and slows a program down: under it tests count no allocations, and do less.
package race
