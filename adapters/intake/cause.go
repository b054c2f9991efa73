package intake

import (
	"regexp"
	"slices"
	"strings"
)

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

// Trace is what is kept of the values of the headers traceparent and tracestate: nothing of
// either unless there is one traceparent and it is valid, and the list of all tracestates,
// unless that is malformed.
func Trace(parents, states []string) (parent, state string) {
	if len(parents) != 1 || !ValidTraceparent(parents[0]) {
		return "", ""
	}
	return parents[0], tracestate(states)
}

// The bounds of a tracestate, W3C Trace Context sections 3.3.1.1 and 3.3.1.5.
const (
	maxStateMembers = 32
	maxStateMember  = 128 // of what a long list keeps
	maxTracestate   = 512
)

// stateMember is a list-member by W3C Trace Context, section 3.3.1.3: key and value.
var stateMember = regexp.MustCompile(
	`^([a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})=[ -+\--<>-~]{0,255}[!-+\--<>-~]$`)

// tracestate is one list of all values, "" when it is malformed. Of one that is too long
// long members go first, and then the last, as section 3.3.1.5 has it.
func tracestate(values []string) string {
	var members []string
	length := -1
	for member := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if member = strings.Trim(member, " \t"); member == "" {
			continue
		}
		parts := stateMember.FindStringSubmatch(member)
		if parts == nil || len(members) == maxStateMembers ||
			slices.ContainsFunc(members, func(m string) bool { return strings.HasPrefix(m, parts[1]+"=") }) {
			return ""
		}
		members, length = append(members, member), length+1+len(member)
	}
	for n := len(members) - 1; n >= 0 && length > maxTracestate; n-- {
		if len(members[n]) > maxStateMember {
			length -= 1 + len(members[n])
			members = slices.Delete(members, n, n+1)
		}
	}
	for ; length > maxTracestate; members = members[:len(members)-1] {
		length -= 1 + len(members[len(members)-1])
	}
	return strings.Join(members, ",")
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
