// Package control serves what an operator asks of a running daemon, over a Unix socket, and asks it.
//
// The socket speaks HTTP, so that every client does, such as curl --unix-socket. Who may ask is told by the permissions of its file,
// and looked at again for each connection (SO_PEERCRED). Connections, requests and how long a peer may take are bounded: whatever a
// peer does, it costs the daemon no more than that.
//
// The package knows nothing of pipelines: what the answers are is the caller's, in a [Daemon].
package control
