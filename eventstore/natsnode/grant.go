package natsnode

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"comanda.internal/domain"
)

// Grant is what a merchant's checkout may do on a server, and all that it may. It
// has an account of its own, so that no other user can listen to its inbox, and the account
// no JetStream: what it reaches of Comanda's account is imported. Its
// user's permissions repeat that, so that a client learns at once what is not for it.
type Grant struct {
	Account string `json:"account"`
	User    string `json:"user"`
	// Publish are the subjects on which it may send: messages to the intake, of
	// which the stream's acknowledgement is the answer, and requests.
	Publish []string `json:"publish"`
	// Subscribe are those to which it may listen: outcomes, and answers to it.
	Subscribe []string `json:"subscribe"`
	// Services and Streams are the subjects that are imported from Comanda's
	// account, which exports them to this one.
	Services []string `json:"import_services"`
	Streams  []string `json:"import_streams"`
	// Aliases are further subjects of this account, and those of Comanda's that they reach:
	// who asks which services there are hears of Comanda, and of nothing else that Comanda's
	// account may have.
	Aliases map[string]string `json:"import_services_as"`

	file string
}

// inbox is where NATS clients take answers.
const inbox = "_INBOX.>"

// discovery is how a client finds the service, its version and its schemas
// (NATS ADR-32), and each of its instances: of this service, not of any other. How much
// they are asked, by all sources, is not for it.
func discovery() []string {
	return []string{"$SRV.PING.comanda", "$SRV.PING.comanda.*", "$SRV.INFO.comanda", "$SRV.INFO.comanda.*"}
}

// discoveryOfAll is how a client asks for all services.
func discoveryOfAll() map[string]string {
	return map[string]string{"$SRV.PING": "$SRV.PING.comanda", "$SRV.INFO": "$SRV.INFO.comanda"}
}

// GrantOf is the grant of the checkout that is one source.
func GrantOf(source domain.SourceID) Grant {
	name := checkoutUser + "-" + string(source)
	return newGrant(name, CheckoutCredentialsOf(source), string(source),
		"comanda.record."+string(source), "comanda.order.get."+string(source), "comanda.order.wait."+string(source))
}

// grantOfAll is the grant of whoever may speak for every source.
func grantOfAll() Grant {
	g := newGrant(checkoutUser, CheckoutCredentials, "*", "comanda.>")
	g.Subscribe[0], g.Streams[0] = "outcome.>", "outcome.>"
	return g
}

func newGrant(name, file, source string, requests ...string) Grant {
	services := append([]string{"intake." + source}, requests...) // the intake first: see taken
	services = append(services, discovery()...)
	outcome, aliases := "outcome."+source, discoveryOfAll()
	return Grant{
		Account: name, User: name, Publish: slices.Concat(services, slices.Sorted(maps.Keys(aliases))), Subscribe: []string{outcome, inbox},
		Services: services, Streams: []string{outcome}, Aliases: aliases, file: file,
	}
}

// CheckoutCredentialsOf is the file, in the data directory, with the credentials of
// the checkout that is one source.
func CheckoutCredentialsOf(source domain.SourceID) string {
	return strings.TrimSuffix(CheckoutCredentials, ".json") + "-" + string(source) + ".json"
}

// Taken is what stands before the subject intake.<source> of a checkout's account where
// Comanda's has it, on the embedded server: no stream stores that, so Comanda itself takes
// the message.
const Taken = "comanda."

// taken is g on the embedded server.
func (g Grant) taken() Grant {
	intake, services := g.Services[0], g.Services[1:]
	g.Services, g.Aliases = services, maps.Clone(g.Aliases)
	g.Aliases[intake] = Taken + intake
	return g
}

// exported are the subjects of Comanda's account by which g reaches it.
func (g *Grant) exported() []string {
	subjects := slices.AppendSeq(slices.Clone(g.Services), maps.Values(g.Aliases))
	slices.Sort(subjects)
	return slices.Compact(subjects)
}

// exports are those of Comanda's account to g's, as a nats-server.conf has them.
func (g *Grant) exports() string {
	var b strings.Builder
	for _, subject := range g.exported() {
		more := ""
		if strings.HasPrefix(subject, "$SRV.") {
			more = ", response_type: stream" // every instance answers
		}
		fmt.Fprintf(&b, "      {service: %q, accounts: [%q]%s}\n", subject, g.Account, more)
	}
	for _, subject := range g.Streams {
		fmt.Fprintf(&b, "      {stream: %q, accounts: [%q]}\n", subject, g.Account)
	}
	return b.String()
}

// block is g's account; of is Comanda's, password what stands in the file for one.
func (g *Grant) block(of, password string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %q {\n    users: [{\n      user: %q, password: %s\n      permissions: {\n", g.Account, g.User, password)
	fmt.Fprintf(&b, "        publish: {allow: [%s]}\n        subscribe: {allow: [%s]}\n      }\n    }]\n    imports: [\n",
		quoted(g.Publish), quoted(g.Subscribe))
	for _, subject := range g.Services {
		fmt.Fprintf(&b, "      {service: {account: %q, subject: %q}}\n", of, subject)
	}
	for _, subject := range slices.Sorted(maps.Keys(g.Aliases)) {
		fmt.Fprintf(&b, "      {service: {account: %q, subject: %q}, to: %q}\n", of, g.Aliases[subject], subject)
	}
	for _, subject := range g.Streams {
		fmt.Fprintf(&b, "      {stream: {account: %q, subject: %q}}\n", of, subject)
	}
	b.WriteString("    ]\n  }\n")
	return b.String()
}

// Conf is g for the nats-server.conf of a server of yours, where Comanda's own
// account is called of. The password is the server's environment's passwordVar.
func (g *Grant) Conf(of, passwordVar string) string {
	return fmt.Sprintf("accounts {\n  %q {\n    # beside what this account has: Comanda's own\n    exports: [\n%s    ]\n  }\n%s}\n",
		of, g.exports(), g.block(of, "$"+passwordVar))
}

func quoted(subjects []string) string {
	all := make([]string, len(subjects))
	for i, s := range subjects {
		all[i] = strconv.Quote(s)
	}
	return strings.Join(all, ", ")
}
