package format

import "encoding/binary"

const (
	nsPerMilli  = 1_000_000
	milliPerDay = 24 * 60 * 60 * 1000
	timeLayout  = "2006-01-02T15:04:05.000Z"
	timeSize    = len(timeLayout)
)

// appendTime appends Unix nanoseconds as RFC 5424 TIMESTAMP in UTC with three digits of fraction, rounded down. Every int64
// is a date between the years 1677 and 2262.
func appendTime(b []byte, ns int64) []byte {
	start := len(b)
	b = appendLong(b, timeLayout)
	putTime((*[timeSize]byte)(b[start:]), ns)
	return b
}

// putTime writes the digits of a time over those of timeLayout.
func putTime(t *[timeSize]byte, ns int64) {
	days, ms := split(ns)
	year, month, day := civil(days)
	sec := ms / 1000
	put2(t[0:], year/100)
	put2(t[2:], year%100)
	put2(t[5:], month)
	put2(t[8:], day)
	put2(t[11:], sec/3600)
	put2(t[14:], sec/60%60)
	put2(t[17:], sec%60)
	put2(t[20:], ms%1000/10)
	t[22] = '0' + byte(ms%10)
}

const (
	months      = "JanFebMarAprMayJunJulAugSepOctNovDec"
	stampLayout = "Mmm dd hh:mm:ss"
	stampSize   = len(stampLayout)
)

// putStamp writes Unix nanoseconds over stampLayout, as the TIMESTAMP of RFC 3164: "Mar  1 10:15:20", here in UTC.
func putStamp(t *[stampSize]byte, ns int64) {
	days, ms := split(ns)
	_, month, day := civil(days)
	sec := ms / 1000
	copy(t[:], months[3*(month-1):3*month])
	put2(t[4:], day)
	if day < 10 {
		t[4] = ' '
	}
	put2(t[7:], sec/3600)
	put2(t[10:], sec/60%60)
	put2(t[13:], sec%60)
}

// split returns the day of a time, counted from 1 March of the year 0, and the milliseconds that have passed of it.
func split(ns int64) (day, ms uint32) {
	const toEpoch = 719468 // days from there to 1970-01-01
	all := ns / nsPerMilli
	if ns%nsPerMilli < 0 {
		all--
	}
	since := uint64(all + toEpoch*milliPerDay)
	return uint32(since / milliPerDay), uint32(since % milliPerDay)
}

// pairs holds the two digits of each number below 100, the first one in the lower byte.
var pairs = func() (list [100]uint16) {
	for v := range list {
		list[v] = uint16('0'+v/10) | uint16('0'+v%10)<<8
	}
	return list
}()

// put2 writes a number below 100.
func put2(b []byte, v uint32) { binary.LittleEndian.PutUint16(b, pairs[v]) }

// civil returns the Gregorian date of a day counted from 1 March of the year 0. It counts years from 1 March, so that the leap day is the
// last day of a year, in cycles of 400 years, which all have the same number of days. It divides by multiplying with the
// inverse, whose rest holds the fraction that the next division needs: C. Neri and L. Schneider, "Euclidean affine functions and their
// application to calendar algorithms".
func civil(day uint32) (year, month, dom uint32) {
	const perCycle = 4*36524 + 1 // days of 400 years
	quarters := 4*day + 3
	century := quarters / perCycle
	quarters = quarters%perCycle | 3
	// 2,939,745 is 2^32/1461, rounded up: four years have 1,461 days.
	years := uint64(quarters) * 2939745
	year = 100*century + uint32(years>>32)
	d := uint32(years) / 2939745 / 4 // day of the year that began on 1 March
	// Five months from March on have 153 days, and so have the next five: 2141/2^16 is a month for each day.
	months := 2141*d + 197913
	month, dom = months>>16, months&(1<<16-1)/2141+1
	if d >= 306 { // 1 January
		return year + 1, month - 12, dom
	}
	return year, month, dom
}
