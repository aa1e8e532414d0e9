package top

import (
	"fmt"
	"strconv"
	"strings"
)

// history is how many values a sparkline can have.
const history = 120

// bars are the heights of a sparkline.
var bars = []rune("▁▂▃▄▅▆▇█")

// spark draws the newest values, as many as fit, so that the greatest of them is as high as can be.
func spark(values []float64, width int) string {
	values = values[max(len(values)-width, 0):]
	greatest := 0.0
	for _, v := range values {
		greatest = max(greatest, v)
	}
	var b strings.Builder
	for _, v := range values {
		i := 0
		if greatest > 0 {
			i = int(v / greatest * float64(len(bars)-1))
		}
		b.WriteRune(bars[min(max(i, 0), len(bars)-1)])
	}
	return b.String()
}

// remember puts a value behind those of a history.
func remember(values []float64, v float64) []float64 {
	values = append(values, v)
	return values[max(len(values)-history, 0):]
}

// number writes a number in five characters at most, while it is below a thousand trillions.
func number(v float64) string {
	if v < 0 {
		v = 0
	}
	if v < 9.95 && v != float64(int(v)) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	if v < 9999.5 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	for _, unit := range "kMGT" {
		v /= 1000
		switch {
		case v < 99.95:
			return strconv.FormatFloat(v, 'f', 1, 64) + string(unit)
		case v < 999.5:
			return strconv.FormatFloat(v, 'f', 0, 64) + string(unit)
		}
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// count is number for a counter.
func count(n uint64) string { return number(float64(n)) }

// percent writes a share of a whole.
func percent(part, whole uint64) string {
	if whole == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f%%", 100*float64(part)/float64(whole))
}
