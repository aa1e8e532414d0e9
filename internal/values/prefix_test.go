package values

import (
	"net/netip"
	"testing"
)

func TestParsePrefix(t *testing.T) {
	for text, want := range map[string]string{
		"10.0.0.0/8":                  "",
		"10.0.0.1":                    "",
		"2001:db8::/32":               "",
		"::":                          "",
		"0.0.0.0/0":                   "",
		"":                            `empty; want a prefix such as "192.0.2.0/24" or "2001:db8::/32", or an address`,
		"any":                         `"any" is neither a prefix nor an address`,
		"::ffff:10.0.0.1":             `"::ffff:10.0.0.1" is IPv4 written as IPv6: write 10.0.0.1`,
		"::ffff:10.0.0.0/104":         `"::ffff:10.0.0.0/104" is IPv4 written as IPv6: write 10.0.0.0/8`,
		"::ffff:0:0/90":               `"::ffff:0:0/90" has host bits set: write ::ffc0:0:0/90, or ::ffff:0.0.0.0 for the one address`,
		"10.0.0.256":                  `"10.0.0.256" is neither a prefix nor an address`,
		"10.0.0/8":                    `"10.0.0/8" is no prefix: "10.0.0" is not an address`,
		"lan/24":                      `"lan/24" is no prefix: "lan" is not an address`,
		"fe80::1%eth0":                `"fe80::1%eth0" names an interface, which no packet does: leave out %eth0`,
		"10.0.0.0/33":                 `"10.0.0.0/33" is too long: an IPv4 prefix has at most 32 bits`,
		"2001:db8::/129":              `"2001:db8::/129" is too long: an IPv6 prefix has at most 128 bits`,
		"10.0.0.0/":                   `"10.0.0.0/" is no prefix: its length must be a number from 0 to 32, not ""`,
		"10.0.0.0/-1":                 `"10.0.0.0/-1" is no prefix: its length must be a number from 0 to 32, not "-1"`,
		"10.0.0.0/08":                 `"10.0.0.0/08" is no prefix: its length must be a number from 0 to 32, not "08"`,
		"10.0.0.0/255.0.0.0":          `"10.0.0.0/255.0.0.0" has a mask, not a length: write 10.0.0.0/8`,
		"10.0.0.0/255.0.255.0":        `"10.0.0.0/255.0.255.0" is no prefix: its length must be a number from 0 to 32, not "255.0.255.0"`,
		"10.0.0.0/99999999999999999":  `"10.0.0.0/99999999999999999" is no prefix: its length must be a number from 0 to 32, not "99999999999999999"`,
		"10.0.1.7/24":                 `"10.0.1.7/24" has host bits set: write 10.0.1.0/24, or 10.0.1.7 for the one address`,
		"2001:db8::1/64":              `"2001:db8::1/64" has host bits set: write 2001:db8::/64, or 2001:db8::1 for the one address`,
		"2001:db8:0:0:0:0:0:0:0:0/64": `"2001:db8:0:0:0:0:0:0:0:0/64" is no prefix: "2001:db8:0:0:0:0:0:0:0:0" is not an address`,
	} {
		p, err := ParsePrefix(text)
		switch {
		case want == "" && (err != nil || p != p.Masked()):
			t.Errorf("%s: %v, %v", text, p, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// FuzzParsePrefix holds ParsePrefix against net/netip: it takes the same texts, but for host bits, scopes and IPv4 written as IPv6.
func FuzzParsePrefix(f *testing.F) {
	for _, text := range []string{"10.0.0.0/8", "10.0.0.1/8", "::/0", "fe80::1%a", "::ffff:1.2.3.4/100", "1.2.3.4/33", "1.2.3.4/+1", "/", "10.0.0.0/255.0.0.0"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParsePrefix(text)
		want, prefixErr := netip.ParsePrefix(text)
		if addr, addrErr := netip.ParseAddr(text); addrErr == nil && addr.Zone() == "" {
			want, prefixErr = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if ok := prefixErr == nil && want == want.Masked() && !want.Addr().Is4In6(); ok != (err == nil) || ok && got != want {
			t.Errorf("%q: %v, %v; netip has %v, %v", text, got, err, want, prefixErr)
		}
	})
}
