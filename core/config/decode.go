package config

import "github.com/rtflow/pipelined/internal/table"

// decodeTable decodes a section, see [Section.Decode].
func (d *document) decodeTable(s *Section, into any) {
	decoder := table.Decoder{
		Report: func(key, message string) {
			at := s.at.follow(key)
			d.misread.Add(at.path)
			d.report(at, Error, message)
		},
		Keys:   func(key string, t map[string]any) []string { return s.at.follow(key).node.order(t) },
		Hint:   d.hint,
		Others: s.core,
	}
	decoder.Decode(s.values, into)
}

func (d *document) mismatch(at cursor, want string, raw any) {
	d.report(at, Error, "must be "+want+", not "+table.Describe(raw))
}
