package spelling

import "strings"

// Nearest returns the valid name that is spelled most like name, if one is near enough to be what was meant: few edits away
// for its length. Case, and a dash in the place of an underscore, make no difference. Of names that are equally near the
// longest is returned, since a letter is left out more often than one is added, and of those the first.
//
// The time it takes is linear in the number of valid names and in their length.
func Nearest(name string, valid []string) (best string, ok bool) {
	limit := 1 + min(len(name)/4, 2) // edits that still look like a slip: 1 in "id", 3 in "destination"
	folded := fold(name)
	for _, v := range valid {
		if d := len(v) - len(name); d > limit || -d > limit {
			continue
		}
		d := distance(folded, fold(v), limit)
		if d <= limit && d < len(v) && (!ok || d < limit || len(v) > len(best)) {
			best, limit, ok = v, d, true
		}
	}
	return best, ok
}

// distance counts the runes to insert, remove or replace to make b of a; what is more than limit is returned as limit + 1.
// Two neighbouring letters that have changed places are one edit.
func distance(a, b string, limit int) int {
	switch {
	case a == b:
		return 0
	case limit == 0 || swapped(a, b):
		return 1
	}
	return levenshtein([]rune(a), []rune(b), limit)
}

// levenshtein returns the edit distance, or limit + 1 if it is more. A distance is at least the difference of the lengths, so
// that of the usual matrix only the entries at most limit beside the diagonal are computed.
func levenshtein(a, b []rune, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	row := make([]int, len(b)+1) // row[j] is the distance of a[:i] and b[:j]; what is not computed is above limit
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		first, last := max(1, i-limit), min(len(b), i+limit)
		diagonal := row[first-1]
		row[first-1] = limit + 1
		if first == 1 {
			row[0] = i
		}
		least := row[first-1]
		for j := first; j <= last; j++ {
			replaced := diagonal
			if a[i-1] != b[j-1] {
				replaced++
			}
			diagonal = row[j]
			row[j] = min(replaced, row[j]+1, row[j-1]+1)
			least = min(least, row[j])
		}
		if least > limit {
			return limit + 1
		}
	}
	return min(row[len(b)], limit+1)
}

// swapped reports whether a is b with two neighbouring letters in each other's place.
func swapped(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// fold makes spellings equal that people mix up: case, and a dash for an underscore.
func fold(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "-") }
