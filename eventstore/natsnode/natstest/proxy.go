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
	limit   int // of answers on each new connection
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

// LimitAnswers ends each connection that is made from now on after n bytes of answers; 0: none.
func (p *Proxy) LimitAnswers(n int) { p.set(func() { p.limit = n }) }

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
		if err != nil {
			_ = client.Close()
			continue
		}
		limit, ok := p.admit(client, server)
		if !ok {
			_, _ = client.Close(), server.Close()
			continue
		}
		p.done.Go(func() { p.pass(server, client, false, 0) })
		p.done.Go(func() { p.pass(client, server, true, limit) })
	}
}

func (p *Proxy) admit(client, server net.Conn) (limit int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.down || p.closed {
		return 0, false
	}
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	return p.limit, true
}

// pass copies until either end closes, or limit bytes passed, unless it is 0; answers
// wait while they are held.
func (p *Proxy) pass(to, from net.Conn, answers bool, limit int) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	buf := make([]byte, 32<<10)
	for passed := 0; limit == 0 || passed < limit; {
		n, err := from.Read(buf)
		if limit > 0 {
			n = min(n, limit-passed)
		}
		passed += n
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
