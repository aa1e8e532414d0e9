package values

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/rtflow/pipelined/internal/spelling"
)

// Prefix is a netip.Prefix that reads itself with [ParsePrefix].
type Prefix struct{ netip.Prefix }

// UnmarshalText reads a prefix, or an address as the prefix that holds only it.
func (p *Prefix) UnmarshalText(text []byte) (err error) {
	p.Prefix, err = ParsePrefix(string(text))
	return err
}

// ParsePrefix reads a prefix, or an address as the prefix that holds only it. The error says what is wrong with a text that is
// neither.
func ParsePrefix(text string) (netip.Prefix, error) {
	address, length, hasLength := strings.Cut(text, "/")
	addr, err := netip.ParseAddr(address)
	switch {
	case text == "":
		return netip.Prefix{}, errors.New(`empty; want a prefix such as "192.0.2.0/24" or "2001:db8::/32", or an address`)
	case err != nil && hasLength:
		return netip.Prefix{}, fmt.Errorf("%s is no prefix: %s is not an address", spelling.Quote(text), spelling.Quote(address))
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%s is neither a prefix nor an address", spelling.Quote(text))
	case addr.Zone() != "":
		return netip.Prefix{}, fmt.Errorf("%s names an interface, which no packet does: leave out %s", spelling.Quote(text), "%"+addr.Zone())
	case addr.Is4In6() && !hasLength:
		return netip.Prefix{}, fmt.Errorf("%s is IPv4 written as IPv6: write %s", spelling.Quote(text), addr.Unmap())
	case !hasLength:
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	bits, err := strconv.ParseUint(length, 10, 31)
	family := "IPv4"
	if addr.Is6() {
		family = "IPv6"
	}
	switch {
	case err != nil || len(length) > 1 && length[0] == '0':
		if ones, ok := maskLength(length); ok && addr.Is4() {
			return netip.Prefix{}, fmt.Errorf("%s has a mask, not a length: write %s/%d", spelling.Quote(text), address, ones)
		}
		return netip.Prefix{}, fmt.Errorf("%s is no prefix: its length must be a number from 0 to %d, not %s", spelling.Quote(text), addr.BitLen(),
			spelling.Quote(length))
	case bits > uint64(addr.BitLen()):
		return netip.Prefix{}, fmt.Errorf("%s is too long: an %s prefix has at most %d bits", spelling.Quote(text), family, addr.BitLen())
	}
	p := netip.PrefixFrom(addr, int(bits))
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has host bits set: write %s, or %s for the one address", spelling.Quote(text), p.Masked(), addr)
	}
	if addr.Is4In6() { // all of these are, with so long a prefix
		return netip.Prefix{}, fmt.Errorf("%s is IPv4 written as IPv6: write %s/%d", spelling.Quote(text), addr.Unmap(), p.Bits()-96)
	}
	return p, nil
}

// maskLength returns the length that a mask such as 255.255.255.0 stands for.
func maskLength(mask string) (ones int, ok bool) {
	addr, err := netip.ParseAddr(mask)
	if err != nil || !addr.Is4() {
		return 0, false
	}
	ones, bits := net.IPMask(addr.AsSlice()).Size()
	return ones, bits == 32
}
