package format

const (
	nsPerMilli  = 1_000_000
	milliPerDay = 24 * 60 * 60 * 1000
	timeSize    = len("2006-01-02T15:04:05.000Z")
)

// appendTime appends Unix nanoseconds as RFC 5424 TIMESTAMP in UTC with three digits of fraction, rounded down. Every int64
// is a date between the years 1677 and 2262.
func appendTime(b []byte, ns int64) []byte {
	ms := floorDiv(ns, nsPerMilli)
	days := floorDiv(ms, milliPerDay)
	year, month, day := civil(days)
	rest := uint(ms - days*milliPerDay)
	sec := rest / 1000

	var t [timeSize]byte
	put2(t[0:], year/100)
	put2(t[2:], year%100)
	t[4] = '-'
	put2(t[5:], month)
	t[7] = '-'
	put2(t[8:], day)
	t[10] = 'T'
	put2(t[11:], sec/3600)
	t[13] = ':'
	put2(t[14:], sec/60%60)
	t[16] = ':'
	put2(t[17:], sec%60)
	t[19] = '.'
	put2(t[20:], rest%1000/10)
	t[22] = '0' + byte(rest%10)
	t[23] = 'Z'
	return append(b, t[:]...)
}

const (
	months    = "JanFebMarAprMayJunJulAugSepOctNovDec"
	stampSize = len("Mmm dd hh:mm:ss")
)

// appendStamp appends Unix nanoseconds as the TIMESTAMP of RFC 3164: "Mar  1 10:15:20", here in UTC.
func appendStamp(b []byte, ns int64) []byte {
	ms := floorDiv(ns, nsPerMilli)
	days := floorDiv(ms, milliPerDay)
	_, month, day := civil(days)
	sec := uint(ms-days*milliPerDay) / 1000

	var t [stampSize]byte
	copy(t[:], "Mmm dd hh:mm:ss")
	copy(t[:], months[3*(month-1):3*month])
	put2(t[4:], day)
	if day < 10 {
		t[4] = ' '
	}
	put2(t[7:], sec/3600)
	put2(t[10:], sec/60%60)
	put2(t[13:], sec%60)
	return append(b, t[:]...)
}

func put2(b []byte, v uint) {
	b[0], b[1] = '0'+byte(v/10), '0'+byte(v%10)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// civil returns the Gregorian date of a day counted from 1970-01-01, for years 0 and later. It counts years from 1 March,
// so that the leap day is the last day of a year, in cycles of 400 years, which all have the same number of days.
func civil(day int64) (year, month, dom uint) {
	const (
		perYear    = 365
		per4Years  = 4*perYear + 1
		perCentury = 25*per4Years - 1
		perCycle   = 4*perCentury + 1
		toEpoch    = 719468 // from 1 March of year 0 to 1970-01-01
	)
	d := uint(day + toEpoch)
	cycle := d / perCycle
	d %= perCycle
	// The last day of a cycle and of each four years would begin another year: take the leap days out first.
	y := (d - d/(per4Years-1) + d/perCentury - d/(perCycle-1)) / perYear
	d -= y*perYear + y/4 - y/100 // day of the year that began on 1 March
	m := (5*d + 2) / 153         // five months from March on have 153 days, and so have the next five
	dom = d - (153*m+2)/5 + 1
	year = cycle*400 + y
	if m < 10 {
		return year, m + 3, dom
	}
	return year + 1, m - 9, dom
}
