// Package web serves the page: what a running pipeline does, for a browser.
//
// The page is plain HTML, CSS and JavaScript that is embedded in the program: there is nothing to build, and a browser asks nobody else.
// It shows what the ledger, the status and the tail of a pipeline say, and counts nothing itself. However many browsers look, counters are
// read once a second at most, and nothing that they do is waited for by a worker or a sink.
//
// Names, rules and addresses may come from anybody. They reach a browser as JSON and are shown as text only; the headers of every answer
// forbid a browser to run, load or frame anything else.
package web
