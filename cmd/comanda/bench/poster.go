package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
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
	answer []byte
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
	head, err := p.head()
	if err != nil {
		return 0, nil, fmt.Errorf("read the answer's head: %w", err)
	}
	p.answer = slices.Grow(p.answer[:0], head.length)[:head.length]
	if _, err := io.ReadFull(p.reader, p.answer); err != nil {
		return 0, nil, fmt.Errorf("read the answer: %w", err)
	}
	if head.closes {
		p.Close()
	}
	return head.status, p.answer, nil
}

// head is what matters of an answer before its body.
type head struct {
	status, length int
	closes         bool
}

var errNoAnswer = errors.New("no answer of HTTP/1.1 with a length")

// mostAnswer is more than any answer to a webhook has, in bytes.
const mostAnswer = 1 << 20

// head reads the status line and the fields, of which it keeps two: a map of them
// all, as net/http makes it, would cost more than the rest of the exchange but its
// system calls.
func (p *Poster) head() (head, error) {
	line, err := p.line()
	if err != nil {
		return head{}, err
	}
	text, ok := bytes.CutPrefix(line, []byte("HTTP/1.1 "))
	text, _, _ = bytes.Cut(text, []byte(" "))
	h := head{status: number(text), length: -1}
	if !ok || h.status < 0 {
		return head{}, errNoAnswer
	}
	for {
		if line, err = p.line(); err != nil {
			return head{}, err
		}
		if len(line) == 0 {
			break
		}
		h.field(line)
	}
	if h.length < 0 || h.length > mostAnswer {
		return head{}, errNoAnswer
	}
	return h, nil
}

// field takes what line says that matters.
func (h *head) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		h.length = number(value)
	case bytes.EqualFold(name, []byte("Connection")):
		h.closes = bytes.EqualFold(value, []byte("close"))
	}
}

// number is what text says in digits, -1 when that is none.
func number(text []byte) int {
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil {
		return -1
	}
	return int(n)
}

// line is the next line without its end, valid until the next is read.
func (p *Poster) line() ([]byte, error) {
	line, err := p.reader.ReadSlice('\n')
	return bytes.TrimRight(line, "\r\n"), err
}

// Close ends the connection; Post makes another.
func (p *Poster) Close() {
	if p.conn != nil {
		_ = p.conn.Close()
		p.conn = nil
	}
}
