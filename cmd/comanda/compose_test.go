package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.yaml.in/yaml/v3"
)

// composeFile is all that docker-compose.yml says. A key that is not here is
// misspelt, or new and then to be thought of here.
type composeFile struct {
	Name     string                    `yaml:"name"`
	XNATS    any                       `yaml:"x-nats"` // the anchor of the three
	Services map[string]composeService `yaml:"services"`
	Networks map[string]struct {
		Internal bool `yaml:"internal"`
	} `yaml:"networks"`
	Volumes map[string]struct{} `yaml:"volumes"`
	Configs map[string]struct {
		Content string `yaml:"content"`
	} `yaml:"configs"`
}

type composeService struct {
	Image           string   `yaml:"image"`
	Build           string   `yaml:"build"`
	Command         []string `yaml:"command"`
	Restart         string   `yaml:"restart"`
	StopGracePeriod string   `yaml:"stop_grace_period"`
	DependsOn       map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Networks    []string `yaml:"networks"`
	Ports       []string `yaml:"ports"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Volumes     []string `yaml:"volumes"`
	Configs     []struct {
		Source string `yaml:"source"`
		Target string `yaml:"target"`
		UID    string `yaml:"uid"`
		GID    string `yaml:"gid"`
		Mode   string `yaml:"mode"`
	} `yaml:"configs"`
	Healthcheck struct {
		Test        []string `yaml:"test"`
		Interval    string   `yaml:"interval"`
		Timeout     string   `yaml:"timeout"`
		Retries     int      `yaml:"retries"`
		StartPeriod string   `yaml:"start_period"`
	} `yaml:"healthcheck"`
}

// composeSecrets stand for the file .env that the head of docker-compose.yml
// has its reader make.
var composeSecrets = map[string]string{
	"COMANDA_SECRET_NATS_CORE":     "secret-core",
	"COMANDA_SECRET_NATS_CHECKOUT": "secret-checkout",
	"COMANDA_SECRET_NATS_CLUSTER":  "secret-cluster",
	"COMANDA_SECRET_APROVEI":       tokens["loja-aprovei"],
}

var (
	composeNodes    = []string{"nats-1", "nats-2", "nats-3"}
	composeVariable = regexp.MustCompile(`\$\{(\w+)(:\?[^}]+)?\}`)
	composeEscape   = regexp.MustCompile(`\$\$([A-Z])`)
)

// readCompose reads docker-compose.yml as compose does: strictly, with the
// variables put in. A variable must be required at least once.
func readCompose(t *testing.T) composeFile {
	t.Helper()
	file, err := os.ReadFile("../../docker-compose.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(file), "\nname: ") // its head is a comment with a shell's variables
	required := map[string]bool{}
	body = composeVariable.ReplaceAllStringFunc("name: "+body, func(text string) string {
		m := composeVariable.FindStringSubmatch(text)
		required[m[1]] = required[m[1]] || m[2] != ""
		return composeSecrets[m[1]]
	})
	if strings.Contains(composeEscape.ReplaceAllString(body, ""), "$") {
		t.Error("docker-compose.yml has a $ that is neither a ${VARIABLE} nor a $$")
	}
	body = composeEscape.ReplaceAllString(body, "$$$1")
	for name := range composeSecrets {
		if !required[name] {
			t.Errorf("docker-compose.yml starts without %s: nowhere is it ${%s:?…}", name, name)
		}
	}
	if len(required) != len(composeSecrets) {
		t.Errorf("docker-compose.yml wants the variables %v", required)
	}
	decoder := yaml.NewDecoder(strings.NewReader(body))
	decoder.KnownFields(true)
	var c composeFile
	if err := decoder.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

// composeLog is docker-compose.yml's three servers, running in this process on
// addresses of its own.
type composeLog struct {
	compose composeFile
	hosts   *strings.Replacer // nats-1:4222 and so on to where they listen
	url     string
}

// startComposeLog runs the three servers and waits until the health check that
// compose makes is content with each.
func startComposeLog(t *testing.T) composeLog {
	t.Helper()
	l := composeLog{compose: readCompose(t)}
	routes := map[string]string{}
	var pairs []string
	for _, name := range composeNodes {
		routes[name] = freeAddress(t)
		pairs = append(pairs, name+":6222", routes[name])
	}
	conf := strings.NewReplacer(pairs...).Replace(l.compose.Configs["nats"].Content)
	var servers []*server.Server
	var urls []string
	pairs = nil
	for _, name := range composeNodes {
		s := startNode(t, l.compose.Services[name], conf, routes[name])
		servers, urls = append(servers, s), append(urls, s.ClientURL())
		pairs = append(pairs, name+":4222", strings.TrimPrefix(s.ClientURL(), "nats://"))
	}
	for i, name := range composeNodes {
		test := l.compose.Services[name].Healthcheck.Test
		check := strings.Replace(test[len(test)-1], "127.0.0.1:8222", servers[i].MonitorAddr().String(), 1)
		awaitOK(t, check)
	}
	l.hosts, l.url = strings.NewReplacer(pairs...), strings.Join(urls, ",")
	return l
}

// startNode runs one server with the inlined configuration, moved to free
// addresses and a directory of its own.
func startNode(t *testing.T, service composeService, conf, route string) *server.Server {
	t.Helper()
	opts := &server.Options{}
	if err := opts.ProcessConfigString(conf); err != nil {
		t.Fatal(err)
	}
	if !opts.SyncAlways {
		t.Error("the servers acknowledge before they fsync")
	}
	if want := opts.StoreDir; len(service.Volumes) != 1 || !strings.HasSuffix(service.Volumes[0], ":"+want) {
		t.Errorf("the store %s is not on a volume: %v", want, service.Volumes)
	}
	host, port, err := net.SplitHostPort(route)
	if err != nil {
		t.Fatal(err)
	}
	opts.Cluster.Host = host
	if opts.Cluster.Port, err = strconv.Atoi(port); err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port = "127.0.0.1", server.RANDOM_PORT
	opts.HTTPPort = server.RANDOM_PORT
	opts.ServerName = service.Command[len(service.Command)-1] // after --name
	opts.StoreDir = t.TempDir()
	opts.NoSigs, opts.NoLog = true, true
	s, err := server.NewServer(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatalf("%s does not start", opts.ServerName)
	}
	return s
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func awaitOK(t *testing.T, url string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(60 * time.Second)
	for {
		select {
		case <-deadline:
			t.Fatalf("%s is never content", url)
		case <-tick.C:
		}
		response, err := http.Get(url)
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
	}
}

// TestComposeLog: who may do what on the servers of docker-compose.yml.
func TestComposeLog(t *testing.T) {
	l := startComposeLog(t)
	for _, name := range composeNodes {
		image := l.compose.Services[name].Image
		if version, _, _ := strings.Cut(strings.TrimPrefix(image, "nats:"), "-"); !strings.HasPrefix(server.VERSION, version+".") {
			t.Errorf("%s is %s, but Comanda is built and tested with nats-server %s", name, image, server.VERSION)
		}
	}
	if _, err := nats.Connect(l.url); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without credentials the answer is %v, want %v", err, nats.ErrAuthorization)
	}

	var creds struct{ User, Password string }
	if err := json.Unmarshal([]byte(l.compose.Configs["nats-core"].Content), &creds); err != nil {
		t.Fatal(err)
	}
	core := connectAs(t, l.url, creds.User, creds.Password)
	js, err := jetstream.New(core)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for name, subject := range map[string]string{"ORDERS-00": "orders.>", "INTAKE": "intake.*"} {
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, Replicas: 3}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(ctx, "orders.00.loja.ord_x", []byte("event")); err != nil {
		t.Errorf("core writes the log: %v", err)
	}

	checkout := connectAs(t, l.url, "checkout", composeSecrets["COMANDA_SECRET_NATS_CHECKOUT"])
	outcome, err := checkout.SubscribeSync("outcome.loja-checkout")
	if err != nil {
		t.Fatal(err)
	}
	reply, err := checkout.RequestWithContext(ctx, "intake.loja-checkout", []byte("fact"))
	if err != nil || !strings.Contains(string(reply.Data), `"stream":"INTAKE"`) {
		t.Errorf("the checkout's message is answered %v, %v", reply, err)
	}
	if err := errors.Join(core.Publish("outcome.loja-checkout", []byte("applied")), core.Flush()); err != nil {
		t.Fatal(err)
	}
	if _, err := outcome.NextMsgWithContext(ctx); err != nil {
		t.Errorf("the checkout hears of the outcome: %v", err)
	}
	info, err := core.Subscribe("$SRV.INFO.comanda", func(m *nats.Msg) { _ = m.Respond([]byte("here")) })
	if err := errors.Join(err, core.Flush()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = info.Unsubscribe() })
	for _, subject := range []string{"$SRV.INFO.comanda", "$SRV.INFO"} {
		if found, err := checkout.RequestWithContext(ctx, subject, nil); err != nil || string(found.Data) != "here" {
			t.Errorf("the checkout finds the service by %s: %v, %v", subject, found, err)
		}
	}
	refused := make(chan error, 1)
	checkout.SetErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err })
	if err := errors.Join(checkout.Publish("orders.00.loja.ord_x", []byte("forged")), checkout.Flush()); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-refused:
		if !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("the checkout writes the log: %v", err)
		}
	case <-ctx.Done():
		t.Error("nobody refuses the checkout that writes the log")
	}
}

func connectAs(t *testing.T, url, user, password string) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect(url, nats.UserInfo(user, password))
	if err != nil {
		t.Fatalf("connect as %s: %v", user, err)
	}
	t.Cleanup(conn.Close)
	return conn
}
