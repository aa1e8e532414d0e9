package sdk

import (
	"context"
	"errors"
	"fmt"
)

// Error is an error that can be a constant.
type Error string

func (e Error) Error() string { return string(e) }

// ErrDrained is returned by [Stream.Next] when nothing is left to hand out: the stream has come to its end, as when the pipeline is
// stopping, or another sink takes over. The sink flushes, acknowledges what it can and returns.
const ErrDrained = Error("sdk: stream drained")

// WriteFunc writes records and returns how many of them, from the first on, the destination has. An error ends the run;
// the records not accepted are handed out again.
type WriteFunc func(ctx context.Context, b Batch) (accepted int, err error)

// Writer makes a sink of a function that writes a batch and knows at once what was taken.
func Writer(write WriteFunc) Sink { return writer(write) }

type writer WriteFunc

func (w writer) Run(ctx context.Context, s Stream) error {
	for {
		b, err := s.Next(ctx, -1)
		if err != nil {
			if errors.Is(err, ErrDrained) {
				return nil
			}
			return err
		}
		n, err := w(ctx, b)
		if n < 0 || n > b.Len() {
			return fmt.Errorf("sdk: write accepted %d of %d records", n, b.Len())
		}
		if n > 0 {
			if ackErr := s.Ack(b.Records[n-1].Seq()); ackErr != nil {
				return ackErr
			}
		}
		if err != nil {
			return err
		}
		if n < b.Len() {
			return fmt.Errorf("sdk: write accepted %d of %d records and gave no error", n, b.Len())
		}
	}
}
