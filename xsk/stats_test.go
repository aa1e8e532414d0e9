package xsk

import (
	"reflect"
	"testing"
)

// Every counter is added: one that Plus forgets would vanish when queues are summed up, and when a source is opened again.
func TestPlus(t *testing.T) {
	for _, c := range []struct{ one, sum any }{
		{&Stats{}, func(a *Stats) any { return a.Plus(*a) }},
		{&Counters{}, func(a *Counters) any { return a.Plus(*a) }},
	} {
		n := fill(reflect.ValueOf(c.one).Elem(), 1)
		sum := reflect.ValueOf(c.sum).Call([]reflect.Value{reflect.ValueOf(c.one)})[0].Elem()
		if got := total(sum); got != n*(n-1) { // twice 1 + 2 + … + (n - 1)
			t.Errorf("%T: the sum of twice all counters is %d, want %d: %+v", c.one, got, n*(n-1), sum.Interface())
		}
	}
}

// fill sets the counters in a struct to n and what follows, and returns the number after the last.
func fill(v reflect.Value, n uint64) uint64 {
	for _, f := range v.Fields() {
		if f.Kind() == reflect.Struct {
			n = fill(f, n)
		} else {
			f.SetUint(n)
			n++
		}
	}
	return n
}

// total adds up the counters in a struct.
func total(v reflect.Value) (n uint64) {
	for _, f := range v.Fields() {
		if f.Kind() == reflect.Struct {
			n += total(f)
		} else {
			n += f.Uint()
		}
	}
	return n
}
