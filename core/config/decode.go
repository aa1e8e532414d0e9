package config

import (
	"github.com/BurntSushi/toml"

	"github.com/rtflow/pipelined/sdk/table"
)

// decodeTable decodes a section, see [Section.Decode].
func (d *document) decodeTable(s *Section, into any) {
	tree := make(map[string]any, len(s.values))
	for key, p := range s.values {
		tree[key] = d.raw(p)
	}
	decoder := table.Decoder{
		Report: func(key, message string) { d.report(s.at.follow(key), Error, message) },
		Keys:   func(key string, t map[string]any) []string { return s.at.follow(key).node.order(t) },
		Hint:   d.hint,
		Others: s.core,
	}
	decoder.Decode(tree, into)
}

func (d *document) mismatch(at cursor, want string, raw any) {
	d.report(at, Error, "must be "+want+", not "+table.Describe(raw))
}

// raw returns a value as the parser holds it. It must not be changed.
func (d *document) raw(p toml.Primitive) (raw any) {
	d.must(d.meta.PrimitiveDecode(p, &raw))
	return raw
}

// tableOf returns the values of a table.
func (d *document) tableOf(p toml.Primitive) (table map[string]toml.Primitive) {
	d.must(d.meta.PrimitiveDecode(p, &table))
	return table
}

// arrayOf returns the elements of an array.
func (d *document) arrayOf(p toml.Primitive) (items []toml.Primitive) {
	d.must(d.meta.PrimitiveDecode(p, &items))
	return items
}

// must holds where a value is only taken apart: the parser has no reason to refuse.
func (d *document) must(err error) {
	if err != nil {
		panic("config: " + err.Error())
	}
}
