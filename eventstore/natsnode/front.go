package natsnode

import (
	"crypto/rand"
	"fmt"
)

const (
	frontUser = "front"
	// frontInbox is where the front, and nobody else, takes answers: core's own inboxes are not for it.
	frontInbox = "_INBOX_FRONT"
)

// newFront are credentials that no file has and nobody is told: they end with the process.
func newFront() credentials { return credentials{User: frontUser, Password: rand.Text()} }

// frontBlock is the user of account core for what hands on messages of checkouts, with their
// headers, some of which the server obeys: it may only publish to the intake, tell outcomes and
// answer requests from other accounts, whose reply subjects are below _R_ here (nats-server 2.15,
// server/accounts.go, newServiceReply), and only hear what was taken, and answers to itself.
// Answers are not left to allow_responses, which forgets what the stream answers late.
//
// So a header that names a subject to write to has no more effect than a publish to it: the server
// checks the destination of a trace against what the connection may publish, and drops the
// message with it (server/msgtrace.go, allowedToPublishOnMsgTraceDest). password is quoted.
func frontBlock(password string) string {
	return fmt.Sprintf("      {\n        user: %s, password: %s, allowed_connection_types: [\"IN_PROCESS\"]\n        permissions: {\n"+
		"          publish: {allow: [%s]}\n          subscribe: {allow: [%s]}\n        }\n      }\n",
		frontUser, password, quoted([]string{"intake.*", "outcome.*", "_R_.>"}), quoted([]string{Taken + "intake.*", frontInbox + ".>"}))
}
