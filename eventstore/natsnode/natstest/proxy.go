package natstest

import (
	"errors"
	"net"
	"sync"
	"testing"
)

// Proxy passes TCP connections on to a server. It can hold back what the server
// answers, and cut every connection.
type Proxy struct {
	target   string
	listener net.Listener
	done     sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond
	held    bool // answers wait
	down    bool // no connections
	closed  bool
	conns   map[net.Conn]struct{}
}

// NewProxy listens on a free port and passes on to target, a host:port. It
// ends with the test.
func NewProxy(tb testing.TB, target string) *Proxy {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		tb.Fatal(err)
	}
	p := &Proxy{target: target, listener: l, conns: make(map[net.Conn]struct{})}
	p.changed = sync.NewCond(&p.mu)
	p.done.Go(p.accept)
	tb.Cleanup(p.close)
	return p
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// HoldAnswers keeps back, in order, what the server sends; requests still pass.
func (p *Proxy) HoldAnswers() { p.set(func() { p.held = true }) }

// ReleaseAnswers lets them pass.
func (p *Proxy) ReleaseAnswers() { p.set(func() { p.held = false }) }

// Cut ends every connection, and each new one at once, until Heal.
func (p *Proxy) Cut() {
	p.set(func() {
		p.down = true
		p.closeConns()
	})
}

// Heal lets connections through again.
func (p *Proxy) Heal() { p.set(func() { p.down = false }) }

func (p *Proxy) close() {
	p.set(func() {
		p.closed, p.held = true, false
		p.closeConns()
	})
	_ = p.listener.Close()
	p.done.Wait()
}

func (p *Proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.changed.Broadcast()
}

// closeConns closes all. The lock is held.
func (p *Proxy) closeConns() {
	for c := range p.conns {
		_ = c.Close()
	}
	clear(p.conns)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		server, err := net.Dial("tcp", p.target) //nolint:noctx // at once
		if err != nil || !p.admit(client, server) {
			_ = client.Close()
			continue
		}
		p.done.Go(func() { p.pass(server, client, false) })
		p.done.Go(func() { p.pass(client, server, true) })
	}
}

func (p *Proxy) admit(client, server net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || p.closed {
		_ = server.Close()
		return false
	}
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	return true
}

// pass copies until either end closes; answers wait while they are held.
func (p *Proxy) pass(to, from net.Conn, answers bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if answers {
			p.awaitRelease()
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func (p *Proxy) awaitRelease() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.held && !p.down {
		p.changed.Wait()
	}
}
