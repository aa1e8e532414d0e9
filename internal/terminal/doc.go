// Package terminal makes text from outside safe to print on a terminal.
//
// Names in captures, answers of servers, output of plugins and values of configurations may hold control sequences, characters
// that change the direction of text, line breaks and bytes that are no UTF-8. [Text], [Word] and [Line] treat one value; a [Writer]
// treats all that a command prints, and is what standard error is wrapped in.
//
// What is replaced is every character that is not graphic (Unicode categories L, M, N, P, S, Zs) and every byte that is not part
// of a UTF-8 sequence. Escapes are those of JSON, so that a JSON document stays one: \u001b, \u202e, \ufffd.
package terminal
