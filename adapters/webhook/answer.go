package webhook

import (
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"comanda.internal/adapters/intake"
	"comanda.internal/adapters/provider"
)

// answer is a response without its request id.
type answer struct {
	status      int
	contentType []string
	body        []byte
	retryAfter  string // seconds; "" is none
	position    string // to be read at, of what was recorded; "" is none
	allow       bool   // says which methods there are
	challenge   bool   // says how to authenticate
}

// PositionHeader has the position at which all that a message recorded can be read: also
// where the body is a platform's own and has no room for it.
const PositionHeader = "Comanda-Position"

// Header values that never change, shared by every response.
var (
	typeJSON    = []string{"application/json"}
	typeProblem = []string{"application/problem+json"}
	allowPost   = []string{http.MethodPost}
	challenges  = []string{"Bearer", `Basic realm="comanda"`}
	noSniff     = []string{"nosniff"}
)

func (a *answer) write(w http.ResponseWriter, header http.Header) {
	header["Content-Type"] = a.contentType
	header["X-Content-Type-Options"] = noSniff
	if a.retryAfter != "" {
		header["Retry-After"] = []string{a.retryAfter}
	}
	if a.position != "" {
		header[PositionHeader] = []string{a.position}
	}
	if a.allow {
		header["Allow"] = allowPost
	}
	if a.challenge {
		header["Www-Authenticate"] = challenges
	}
	w.WriteHeader(a.status)
	w.Write(a.body) //nolint:errcheck,gosec // a sender that hung up asks again
}

// The answers that depend on nothing.
var (
	answerNotFound     = problem(http.StatusNotFound, "the path is /webhooks/{source} or /webhooks/{source}/{action}")
	answerMethod       = withAllow(problem(http.StatusMethodNotAllowed, "a webhook is a POST"))
	answerBusy         = withRetry(problem(http.StatusTooManyRequests, "too many requests at once"), "1")
	answerEncoded      = problem(http.StatusUnsupportedMediaType, "send the body without Content-Encoding")
	answerNotJSON      = problem(http.StatusUnsupportedMediaType, "send JSON, as application/json")
	answerTooLarge     = problem(http.StatusRequestEntityTooLarge, "the body is too large")
	answerTimeout      = problem(http.StatusRequestTimeout, "the body did not come in time")
	answerCutShort     = problem(http.StatusBadRequest, "the body ended before its length")
	answerUnauthorized = withChallenge(problem(http.StatusUnauthorized, "no such source, or not with these credentials"))
)

func answerUnread(err error) answer {
	switch {
	case err == errTooLarge: //nolint:errorlint // readBody returns it bare
		return answerTooLarge
	case timedOut(err):
		return answerTimeout
	default:
		return answerCutShort
	}
}

func answerTooMany(retryAfter string) answer {
	return withRetry(problem(http.StatusTooManyRequests, "too many requests from this source"), retryAfter)
}

func answerUnavailable(retryAfter string) answer {
	return withRetry(problem(http.StatusServiceUnavailable, "not accepted; send the same again"), retryAfter)
}

func withAllow(a answer) answer     { a.allow = true; return a }
func withChallenge(a answer) answer { a.challenge = true; return a }
func withRetry(a answer, seconds string) answer {
	a.retryAfter = seconds
	return a
}

// problem is an answer by RFC 9457.
func problem(status int, detail string) answer {
	b := appendProblem(nil, status, detail)
	return answer{status: status, contentType: typeProblem, body: append(b, '}')}
}

// appendProblem appends a problem's common members and leaves the object open.
func appendProblem(b []byte, status int, detail string) []byte {
	b = append(b, `{"type":"about:blank","title":`...)
	b = appendString(b, http.StatusText(status))
	b = append(b, `,"status":`...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(b, `,"detail":`...)
	return appendString(b, detail)
}

// answerReceipt is the answer for an accepted message.
func answerReceipt(providerName string, receipt *intake.Receipt, requestID string) answer {
	a := answerOutcome(providerName, receipt, requestID)
	a.position = receipt.Position().String()
	return a
}

func answerOutcome(providerName string, receipt *intake.Receipt, requestID string) answer {
	voxuy := providerName == provider.Voxuy
	if receipt.Quarantined() && (voxuy || providerName == provider.Comanda) && senderCanAct(receipt.Reason) {
		if voxuy {
			return voxuyRefusal(receipt, requestID)
		}
		b := appendProblem(nil, http.StatusBadRequest, "the message was kept, but is not a fact; correct it and send it again")
		b = append(b, ',')
		b = receipt.AppendMembers(b)
		return answer{status: http.StatusBadRequest, contentType: typeProblem, body: append(b, '}')}
	}
	a := answer{status: http.StatusOK, contentType: typeJSON}
	if receipt.Quarantined() {
		a.status = http.StatusAccepted
	}
	switch {
	case voxuy && !receipt.Quarantined():
		a.body = voxuySuccess
	case voxuy:
		a.body = append(receipt.AppendMembers([]byte(`{"Success": true,`)), '}')
	default:
		a.body = receipt.AppendJSON(make([]byte, 0, answerSize))
	}
	return a
}

// answerSize holds the answer for one fact.
const answerSize = 320

// voxuySuccess is Voxuy's own answer (document 002).
var voxuySuccess = []byte(`{"Success": true}`)

// senderCanAct reports whether the message was bad in itself, and not unknown
// to us: a platform that documents its 400, or a merchant's own checkout, can mend that.
func senderCanAct(reason provider.ErrorReason) bool {
	return reason == provider.Malformed || reason == provider.InvalidFields
}

// voxuyRefusal is Voxuy's own 400 (document 002), with our request id to ask about.
func voxuyRefusal(receipt *intake.Receipt, requestID string) answer {
	b := append([]byte(nil), `{"errors":`...)
	b = intake.AppendFields(b, receipt.Fields)
	b = append(b, `,"type":"https://tools.ietf.org/html/rfc7231#section-6.5.1",`+
		`"title":"One or more validation errors occurred.","status":400,"traceId":`...)
	b = appendString(b, requestID)
	return answer{status: http.StatusBadRequest, contentType: typeProblem, body: append(b, '}')}
}

func appendString(b []byte, s string) []byte {
	b, _ = jsontext.AppendQuote(b, s) // the error only reports what is not UTF-8
	return b
}
