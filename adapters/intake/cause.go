package intake

// maxRequestID bounds a request id from outside.
const maxRequestID = 128

// ValidRequestID reports whether s may stand in logs, headers and events as a
// request id: 1 to 128 letters, digits and any of "._:-".
func ValidRequestID(s string) bool {
	if s == "" || len(s) > maxRequestID {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '.', c == '_', c == ':', c == '-':
		default:
			return false
		}
	}
	return true
}

// The layout of a traceparent, W3C Trace Context section 3.2.2:
// version "-" trace-id "-" parent-id "-" flags, all lower-case hex.
const (
	traceEnd       = 35 // 2 + 1 + 32
	parentEnd      = 52 // traceEnd + 1 + 16
	traceparentLen = 55 // parentEnd + 1 + 2
	maxTraceparent = 256
)

// ValidTraceparent reports whether s is a traceparent header's value by W3C
// Trace Context: no zero ids, not version ff, and nothing after the flags in
// version 00; a later version may go on after a hyphen.
func ValidTraceparent(s string) bool {
	if len(s) < traceparentLen || len(s) > maxTraceparent {
		return false
	}
	if s[2] != '-' || s[traceEnd] != '-' || s[parentEnd] != '-' {
		return false
	}
	version, trace, parent, flags := s[:2], s[3:traceEnd], s[traceEnd+1:parentEnd], s[parentEnd+1:traceparentLen]
	if !lowerHex(version) || !lowerHex(trace) || !lowerHex(parent) || !lowerHex(flags) {
		return false
	}
	if version == "ff" || allZero(trace) || allZero(parent) {
		return false
	}
	if len(s) == traceparentLen {
		return true
	}
	return version != "00" && s[traceparentLen] == '-'
}

func lowerHex(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

func allZero(s string) bool {
	for i := range len(s) {
		if s[i] != '0' {
			return false
		}
	}
	return true
}
