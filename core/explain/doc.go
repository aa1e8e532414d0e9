// Package explain carries one packet past the hooks of a configuration and says what each of them made of it.
//
// The packet is carried by a worker, with the hooks that a pipeline has and a gate without limits: the verdict and the records are the
// worker's. What decided is asked of the hooks that implement [hook.Explainer]. The worker knows no packet before this one: no session,
// no rate and no scan.
package explain
