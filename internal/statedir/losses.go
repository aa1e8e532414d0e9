package statedir

import (
	"bytes"
	"encoding/json"
	"fmt"
)

const lossFile = "losses.json"

// Losses are what a stop has given up, by the name of the sink.
type Losses map[string]Loss

// Loss is what one sink's stream lacks.
type Loss struct {
	Since  int64             `json:"since"` // Unix ns of the first event that is missing
	Until  int64             `json:"until"` // of the last, or of the stop
	Events map[string]uint64 `json:"events"`
}

// lossDocument is the content of the file.
type lossDocument struct {
	Version int    `json:"version"`
	Sinks   Losses `json:"sinks"`
}

// lossVersion is the version of the file's layout.
const lossVersion = 1

// Losses returns what was written last, nothing if there is no file.
func (d *Dir) Losses() (Losses, error) {
	var doc lossDocument
	err := d.read(lossFile, func(b []byte) error {
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&doc); err != nil {
			doc = lossDocument{}
			return err
		}
		if doc.Version != lossVersion || dec.More() {
			doc = lossDocument{}
			return fmt.Errorf("version %d, this is version %d", doc.Version, lossVersion)
		}
		return nil
	})
	if doc.Sinks == nil {
		doc.Sinks = Losses{}
	}
	return doc.Sinks, err
}

// WriteLosses replaces the losses that were written before.
func (d *Dir) WriteLosses(l Losses) error {
	b, err := json.MarshalIndent(lossDocument{lossVersion, l}, "", "  ")
	if err != nil {
		return err
	}
	return d.write(lossFile, append(b, '\n'))
}
