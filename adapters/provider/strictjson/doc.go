// Package strictjson reads JSON that comes from outside: [Parse] makes a
// [Document], whose parts are [Value]s.
//
// It is strict where leniency would let two readers see two messages: at most
// [MaxDepth] levels, no name twice in an object (escaped spellings included),
// valid UTF-8 without lone surrogates, nothing after the value, names matched
// exactly. Numbers stay text, so that no sum ever passes through a float.
//
// Errors name an offset and a rule and never quote the text, which may be personal.
package strictjson
