package format

// closeObject ends an object that has at least one member.
func closeObject(b []byte) []byte {
	b[len(b)-1] = '}'
	return b
}

// endObject is closeObject for an object inside another.
func endObject(b []byte) []byte { return append(closeObject(b), ',') }

// appendNumber appends a member whose value is a number; key is `"name":`.
func appendNumber(b []byte, key string, v uint64) []byte {
	b = append(b, key...)
	b = appendUint(b, v)
	return append(b, ',')
}

// appendTimeMember appends a member whose value is a time, nothing for time 0; key is `"name":"`.
func appendTimeMember(b []byte, key string, ns int64) []byte {
	if ns == 0 {
		return b
	}
	b = append(b, key...)
	b = appendTime(b, ns)
	return append(b, `",`...)
}

// appendNameMember appends a member whose value is a name, nothing for an empty one; key is `"name":"`.
func appendNameMember(b []byte, key, name string) []byte {
	if name == "" {
		return b
	}
	b = append(b, key...)
	b = appendJSON(b, name)
	return append(b, `",`...)
}
