// Package unixsocket listens on Unix stream sockets: their files have the right owners and permissions from the beginning, replace
// nothing but what a dead process has left, and come back when somebody removes them. It knows who is at the other end.
package unixsocket
