// Package flowhash hashes the key of a flow under a secret, so that senders cannot choose flows that collide.
//
// A word is combined with a secret before it is multiplied, and so is the word it is multiplied with. With a secret on one
// side only, a sender could choose the other side to be 0 and make the product the same for every secret.
package flowhash

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"
)

// Key is the secret.
type Key [6]uint64

// New derives a key from a seed (splitmix64). The same seed gives the same key.
func New(seed uint64) (k Key) {
	for i := range k {
		seed += 0x9e3779b97f4a7c15
		z := seed
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		k[i] = z ^ z>>31
	}
	return k
}

// Random returns a key that nobody knows.
func Random() (k Key) {
	var b [8 * len(k)]byte
	rand.Read(b[:]) // never fails, by contract
	for i := range k {
		k[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return k
}

// Sum hashes five words. All 64 bits of the result are usable.
func (k *Key) Sum(a, b, c, d, e uint64) uint64 {
	h := fold(a^k[0], b^k[1]) ^ bits.RotateLeft64(fold(c^k[2], d^k[3]), 32)
	return fold(h^k[4], e^k[5]^h>>32)
}

// Sum3 hashes three words. All 64 bits of the result are usable.
func (k *Key) Sum3(a, b, c uint64) uint64 {
	h := fold(fold(a^k[0], b^k[1])^k[2], c^k[3])
	return h ^ h>>32 // a product has as many zeros at its end as its factors
}

// Extend hashes two more words into a sum.
func Extend(sum, a, b uint64) uint64 { return fold(sum^a, bits.RotateLeft64(sum, 32)^b) }

// fold mixes two words into one: both halves of their product.
func fold(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	return hi ^ lo
}
