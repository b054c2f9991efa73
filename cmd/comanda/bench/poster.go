package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Poster posts JSON over one kept-alive connection. It is for one goroutine.
type Poster struct {
	addr   string
	header string // everything before the length
	conn   net.Conn
	reader *bufio.Reader
	buf    []byte
}

// NewPoster posts to path on addr (host:port) with a bearer token.
func NewPoster(addr, path, token string) *Poster {
	return &Poster{addr: addr, header: "POST " + path + " HTTP/1.1\r\nHost: " + addr + "\r\nAuthorization: Bearer " + token +
		"\r\nContent-Type: application/json\r\nContent-Length: "}
}

// Post sends body and gives back the answer's status and body, which is valid
// until the next call. After an error the next call connects anew.
func (p *Poster) Post(ctx context.Context, body []byte) (status int, answer []byte, err error) {
	if err := p.Connect(ctx); err != nil {
		return 0, nil, err
	}
	p.buf = append(p.buf[:0], p.header...)
	p.buf = strconv.AppendInt(p.buf, int64(len(body)), 10)
	p.buf = append(p.buf, "\r\n\r\n"...)
	p.buf = append(p.buf, body...)
	status, answer, err = p.exchange()
	if err != nil {
		p.Close()
	}
	return status, answer, err
}

// Connect connects, unless it is connected: before a measurement, so that the
// first call is like the others.
func (p *Poster) Connect(ctx context.Context) error {
	if p.conn != nil {
		return nil
	}
	dialer := net.Dialer{Timeout: 5 * time.Second}
	conn, err := dialer.DialContext(ctx, "tcp", p.addr)
	if err != nil {
		return err
	}
	p.conn, p.reader = conn, bufio.NewReader(conn)
	return nil
}

func (p *Poster) exchange() (int, []byte, error) {
	if _, err := p.conn.Write(p.buf); err != nil {
		return 0, nil, err
	}
	response, err := http.ReadResponse(p.reader, nil)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	}
	if response.Close {
		p.Close()
	}
	return response.StatusCode, answer, nil
}

// Close ends the connection; Post makes another.
func (p *Poster) Close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}
