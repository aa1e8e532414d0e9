package syslog

import (
	"slices"

	"github.com/rtflow/pipelined/sdk/event"
)

// lengthField is the length of a message in the frame that holds it: decimal, before the message, and with a blank in between. A message
// is formatted where it is sent from, so its length is not known when the field is due: there is room for as many digits as the last
// message of that kind of event took.
type lengthField struct {
	at, message int                  // where the field and the message behind it begin
	room        *room                // for the message
	rooms       [event.NumKinds]room // by kind
}

// room is for the decimal digits of a length: those of from, up to and not including to.
type room struct{ digits, from, to int }

// blanks are more than the digits of a length.
const blanks = "                        "

// head appends the room for the length of a message of that kind. The message is appended behind it.
func (f *lengthField) head(b []byte, k event.Kind) []byte {
	f.at, f.room = len(b), &f.rooms[k]
	b = append(b, blanks[:f.room.digits+1]...)
	f.message = len(b)
	return b
}

// tail writes the length of the message that b ends with. The message is moved if there is room for more or fewer digits.
func (f *lengthField) tail(b []byte) []byte {
	size := len(b) - f.message
	if size < f.room.from || size >= f.room.to {
		*f.room = roomFor(size)
		b = slices.Replace(b, f.at, f.message, []byte(blanks[:f.room.digits+1])...)
	}
	field, v := b[f.at:][:f.room.digits], uint32(size)
	for i := len(field) - 1; i >= 0; i-- {
		field[i] = byte('0' + v%10)
		v /= 10
	}
	return b
}

func roomFor(size int) room {
	r := room{1, 0, 10}
	for size >= r.to {
		r = room{r.digits + 1, r.to, 10 * r.to}
	}
	return r
}
