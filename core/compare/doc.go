// Package compare says what a change of a configuration does: which flows are judged, logged or placed in zones otherwise, and which rules
// are responsible.
//
// A [Recorder] listens to a pipeline that reads a capture, or to an [explain.Explainer], and notes what became of each flow. [Compare] finds
// the flows of which two recorders have noted different things. The package knows neither pipelines nor files.
package compare
