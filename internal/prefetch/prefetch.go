// Package prefetch asks the processor for memory that will be read soon, so that it is in a cache by then.
//
// It pays where what will be read is known for many things before the first of them is needed: waiting for all of it at once
// takes hardly longer than waiting for one. A request reads nothing, changes nothing and cannot fail, whatever the address
// is. On processors other than amd64 and arm64 it does nothing.
package prefetch
