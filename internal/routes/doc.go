// Package routes follows the interfaces and routes of the kernel, and keeps the zones by route of a zone table in step with them.
//
// It reads the tables local and main, as the kernel asks them if no rule says otherwise: an address that the table local has a route for
// is looked for nowhere else. Of several routes for a prefix the one with the lowest metric counts, and of several next hops the first.
// A prefix that is unreachable, or reached by an interface of no zone, is in no zone.
//
// It does not keep the routes. When the kernel announces one, the table tells whether any address changes its zone by it: only then
// everything is read again, some time later and all changes since then together. A router that takes a million routes from its neighbours
// has few zones, and most of these routes tell nothing that a shorter one does not.
package routes
