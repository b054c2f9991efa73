package checkout

import (
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"comanda.internal/adapters/intake"
	"comanda.internal/domain"
)

// The codes of a micro error. They are HTTP's, for want of a list of NATS's own.
const (
	codeOK          = 200 // no error
	codeInvalid     = 400
	codeNotFound    = 404
	codeConflict    = 409
	codeTooLarge    = 413
	codeBusy        = 429
	codeInternal    = 500
	codeUnavailable = 503
)

// codes has one for every kind of error.
var codes = map[domain.ErrorKind]int{
	domain.Internal:    codeInternal,
	domain.Invalid:     codeInvalid,
	domain.NotFound:    codeNotFound,
	domain.Refused:     codeConflict,
	domain.Stale:       codeConflict,
	domain.Exists:      codeConflict,
	domain.Unavailable: codeUnavailable,
	domain.Exhausted:   codeBusy,
	domain.Corrupt:     codeInternal,
}

// answer is what a request is told.
type answer struct {
	code        int
	description string // of an error
	body        []byte // JSON; nil: none
}

func success(body []byte) answer { return answer{code: codeOK, body: body} }

// refusal is an error without a body.
func refusal(code int, description string) answer {
	return answer{code: code, description: description}
}

// failure is err as an answer; the fields that it complains of are the body.
func failure(err error) answer {
	a := refusal(codes[domain.KindOf(err)], err.Error())
	if a.code == codeInternal { // the text is the log's, not the sender's
		a.description = "comanda cannot answer this; its log says why"
	}
	if typed, ok := asDomain(err); ok && len(typed.Fields) > 0 {
		a.body = append(intake.AppendFields([]byte(`{"errors":`), typed.Fields), '}')
	}
	return a
}

// message is the answer to r, with its id and trace.
func (a *answer) message(r *request) *nats.Msg {
	msg := nats.NewMsg(r.reply)
	msg.Data = a.body
	mark(msg.Header, r.id, &r.cause)
	if a.body != nil {
		msg.Header.Set("Content-Type", defaultContentType)
	}
	if a.code != codeOK {
		msg.Header.Set(micro.ErrorCodeHeader, strconv.Itoa(a.code))
		msg.Header.Set(micro.ErrorHeader, oneLine(a.description))
	}
	return msg
}

// oneLine is s as a header's value: what may not stand there is a blank.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = ' '
		}
	}
	return string(b[:min(len(b), maxDescription)])
}

const maxDescription = 512
