package logverify

// element is an SD-ELEMENT as it stands in the message.
type element struct {
	id     string
	at     int
	params []param
}

type param struct {
	name, value     string
	nameAt, valueAt int
}

func (e *element) has(name string) bool {
	for _, p := range e.params {
		if p.name == name {
			return true
		}
	}
	return false
}

// elements takes the structured data apart, in its order, and returns where the text behind it begins, -1 for none. The parser
// has accepted the message.
func (c *Checker) elements(at int) (list []element, text int) {
	m := c.msg
	if m[at] == '-' {
		at++
	}
	for at < len(m) && m[at] == '[' {
		at++
		e := element{at: at}
		for m[at] != ' ' && m[at] != ']' {
			at++
		}
		e.id = string(m[e.at:at])
		for m[at] == ' ' {
			at++
			p := param{nameAt: at}
			for m[at] != '=' {
				at++
			}
			p.name = string(m[p.nameAt:at])
			at += 2 // ="
			p.valueAt = at
			var value []byte
			for m[at] != '"' {
				if m[at] == '\\' { // before one of the three characters that are escaped, nothing else was accepted
					at++
				}
				value = append(value, m[at])
				at++
			}
			p.value = string(value)
			at++ // "
			if e.has(p.name) {
				c.report(p.nameAt, "parameter %s stands there twice", p.name)
			}
			e.params = append(e.params, p)
		}
		at++ // ]
		list = append(list, e)
	}
	if at+1 < len(m) {
		return list, at + 1
	}
	if at < len(m) && !c.any() { // RFC 5424, 6: MSG may be empty
		c.report(at, "a blank behind the structured data, and no text")
	}
	return list, -1
}
