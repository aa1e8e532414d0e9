package syslog

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// A RELP frame is TXNR SP COMMAND SP DATALEN [SP DATA] LF. Numbers are decimal; TXNR counts up to 999999999 and starts over
// at 1, 0 is for frames that nobody asked for.
const (
	maxTxnr    = 999_999_999
	maxCommand = 32
	// maxAnswer is the longest answer that is read: those of collectors are a line.
	maxAnswer = 64 << 10
)

// appendRELP appends a frame.
func appendRELP(b []byte, txnr uint32, command string, data []byte) []byte {
	b = appendRELPHead(b, txnr, command)
	b = strconv.AppendInt(b, int64(len(data)), 10)
	if len(data) > 0 {
		b = append(b, ' ')
		b = append(b, data...)
	}
	return append(b, '\n')
}

// appendRELPHead appends a frame up to its length.
func appendRELPHead(b []byte, txnr uint32, command string) []byte {
	b = strconv.AppendUint(b, uint64(txnr), 10)
	b = append(b, ' ')
	b = append(b, command...)
	return append(b, ' ')
}

// relpFrame is a frame that was received.
type relpFrame struct {
	txnr    uint32
	command string
	data    []byte // valid until the next frame is read
}

var errRELP = errors.New("not a RELP frame")

// relpReader reads frames. What it holds is bounded.
type relpReader struct {
	in   *bufio.Reader
	data []byte
}

func newRELPReader(r io.Reader) *relpReader { return &relpReader{in: bufio.NewReaderSize(r, 4096)} }

// next returns the next frame. io.EOF comes between frames only; inside it is io.ErrUnexpectedEOF.
func (r *relpReader) next() (f relpFrame, err error) {
	n, end, err := r.number(maxTxnr)
	if err != nil {
		return f, err
	}
	if end != ' ' {
		return f, fmt.Errorf("%w: %q behind the transaction", errRELP, end)
	}
	f.txnr = uint32(n)
	if f.command, err = r.word(); err != nil {
		return f, unexpected(err)
	}
	size, end, err := r.number(maxAnswer)
	if err != nil {
		return f, unexpected(err)
	}
	switch {
	case size == 0 && end == '\n':
		return f, nil
	case end != ' ':
		return f, fmt.Errorf("%w: %q behind the length", errRELP, end)
	}
	if cap(r.data) < size {
		r.data = make([]byte, size)
	}
	f.data = r.data[:size]
	if _, err := io.ReadFull(r.in, f.data); err != nil {
		return f, unexpected(err)
	}
	if c, err := r.in.ReadByte(); err != nil {
		return f, unexpected(err)
	} else if c != '\n' {
		return f, fmt.Errorf("%w: %q behind the data", errRELP, c)
	}
	return f, nil
}

// number reads digits and what follows them.
func (r *relpReader) number(most int) (n int, end byte, err error) {
	for i := 0; ; i++ {
		c, err := r.in.ReadByte()
		if err != nil {
			if i > 0 {
				err = unexpected(err)
			}
			return 0, 0, err
		}
		if c < '0' || c > '9' {
			if i == 0 {
				return 0, 0, fmt.Errorf("%w: %q where a number begins", errRELP, c)
			}
			return n, c, nil
		}
		if n = n*10 + int(c-'0'); n > most {
			return 0, 0, fmt.Errorf("%w: a number above %d", errRELP, most)
		}
	}
}

// word reads a command and the blank behind it.
func (r *relpReader) word() (string, error) {
	var w [maxCommand]byte
	for i := 0; ; i++ {
		c, err := r.in.ReadByte()
		switch {
		case err != nil:
			return "", err
		case c == ' ' && i > 0:
			if string(w[:i]) == relpResponse { // nearly every frame: without a copy
				return relpResponse, nil
			}
			return string(w[:i]), nil
		case i == maxCommand || c < 'a' || c > 'z':
			return "", fmt.Errorf("%w: %q in a command", errRELP, c)
		}
		w[i] = c
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// answerCode returns the code of a response, 200 for a good one, and the rest of its first line.
func answerCode(data []byte) (code int, text []byte) {
	const digits, most = 3, 80
	line, _, _ := bytes.Cut(data, []byte{'\n'})
	text = line[:min(len(line), most)]
	if len(line) < digits || len(line) > digits && line[digits] != ' ' {
		return 0, text
	}
	for _, c := range line[:digits] {
		if c < '0' || c > '9' {
			return 0, text
		}
		code = code*10 + int(c-'0')
	}
	return code, bytes.TrimPrefix(text[digits:], []byte{' '})
}
