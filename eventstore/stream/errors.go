package stream

import (
	"errors"
	"fmt"
)

// ErrNoAnswer says that nothing answered in time, or that nobody could have:
// whether the message was stored is unknown.
var ErrNoAnswer = errors.New("no answer from the stream")

// ErrNotFound says that the stream has no such message.
var ErrNotFound = errors.New("no such message")

// Code is a JetStream error code (nats-server, server/errors.json).
type Code uint16

// The codes that Comanda acts on.
const (
	CodeAccountLimit      Code = 10002 // the account's limit; nothing was stored
	CodeResources         Code = 10023 // the server's storage is used up; nothing was stored
	CodeNoMessage         Code = 10037
	CodeStorage           Code = 10047 // too little storage for what was asked; nothing was stored
	CodeMessageTooLarge   Code = 10054 // nothing was stored
	CodeStreamNameInUse   Code = 10058 // with another configuration
	CodeStreamNotFound    Code = 10059
	CodeWrongLast         Code = 10071 // wrong last sequence, with the right one
	CodeStoreFailed       Code = 10077 // the stream's limit; nothing was stored
	CodeInProcess         Code = 10158 // a message with this id is being stored
	CodeWrongLastInFlight Code = 10164 // wrong last sequence, on replicas: one for this subject is being stored
	CodeBatchIncomplete   Code = 10176 // the batch could not be staged, or not whole; nothing of it was stored
	CodeBatchDuplicate    Code = 10201 // a message of the batch was stored before; nothing of it was stored
	CodeBatchesInFlight   Code = 10210 // too many batches are staged; nothing of this one was stored

	codeClusterIncomplete   Code = 10004
	codeNoPeers             Code = 10005
	codeClusterNotAvailable Code = 10008
	codeNotLeader           Code = 10009
	codeStreamOffline       Code = 10118
)

// APIError is an error that the server answered.
type APIError struct {
	Status      int    `json:"code"`
	Code        Code   `json:"err_code"`
	Description string `json:"description"`
}

// Error is the server's description and code.
func (e *APIError) Error() string { return fmt.Sprintf("%s (%d)", e.Description, e.Code) }

// CodeOf is the code of the first [APIError] in err's chain; 0 when there is none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*APIError](err); ok {
		return e.Code
	}
	return 0
}
