// Package framefile recognises and prints files of frames, which sinks write with format = "frames".
//
// sdk/event reads the frames and sdk/format encodes the records.
package framefile
