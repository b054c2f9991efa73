package main

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"

	"comanda.internal/domain"
	comandav1 "comanda.internal/proto/comanda/v1"
)

// frame is a message of which a client looks only at the kind, because it runs on the
// same cores as the server.
type frame struct {
	kind byte   // the first byte: the tag of the oneof's field
	data []byte // all of it, if keep was set
	keep bool
}

// The kinds that matter: fields 1 and 2 of SubscribeResponse.
const (
	frameEvent    = 1<<3 | 2
	frameCaughtUp = 2<<3 | 2
)

// frameCodec takes frames, and sends bytes as they are; other messages are protobuf's.
type frameCodec struct{ encoding.CodecV2 }

func newFrameCodec() frameCodec { return frameCodec{encoding.GetCodecV2(proto.Name)} }

// Marshal implements [encoding.CodecV2].
func (c frameCodec) Marshal(v any) (mem.BufferSlice, error) {
	if data, ok := v.([]byte); ok {
		return mem.BufferSlice{mem.SliceBuffer(data)}, nil
	}
	return c.CodecV2.Marshal(v)
}

// Unmarshal implements [encoding.CodecV2].
func (c frameCodec) Unmarshal(data mem.BufferSlice, v any) error {
	f, ok := v.(*frame)
	if !ok {
		return c.CodecV2.Unmarshal(data, v)
	}
	f.kind = 0
	for _, buffer := range data {
		if bytes := buffer.ReadOnlyData(); len(bytes) > 0 {
			f.kind = bytes[0]
			break
		}
	}
	if f.keep {
		f.data = data.Materialize()
	}
	return nil
}

// subscribers are streams, each on a connection of its own.
type subscribers struct {
	cancel  context.CancelFunc
	conns   []*grpc.ClientConn
	streams []grpc.ClientStream
}

// openSubscribers calls method for each of n subscribers.
func openSubscribers(ctx context.Context, target, method string, n int, request func(n int) *comandav1.SubscribeRequest) (*subscribers, error) {
	s := new(subscribers)
	ctx, s.cancel = context.WithCancel(ctx)
	for i := range n {
		if err := s.open(ctx, target, method, request(i)); err != nil {
			return nil, errors.Join(err, s.close())
		}
	}
	return s, nil
}

func (s *subscribers) open(ctx context.Context, target, method string, request *comandav1.SubscribeRequest) error {
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	s.conns = append(s.conns, conn)
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, method, grpc.ForceCodecV2(newFrameCodec()))
	if err == nil {
		err = stream.SendMsg(request)
	}
	if err == nil {
		err = stream.CloseSend()
	}
	s.streams = append(s.streams, stream)
	return err
}

func (s *subscribers) close() error {
	s.cancel()
	var errs []error
	for _, conn := range s.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// each runs do for every stream, all at once.
func (s *subscribers) each(do func(grpc.ClientStream) error) error {
	var group errgroup.Group
	for _, stream := range s.streams {
		group.Go(func() error { return do(stream) })
	}
	return group.Wait()
}

// ready waits until each has caught up.
func (s *subscribers) ready() error {
	return s.each(func(stream grpc.ClientStream) error {
		for {
			var f frame
			if err := stream.RecvMsg(&f); err != nil || f.kind == frameCaughtUp {
				return err
			}
		}
	})
}

// receive waits until each got n events.
func (s *subscribers) receive(n int) error {
	return s.each(func(stream grpc.ClientStream) error {
		var f frame
		for got := 0; got < n; {
			if err := stream.RecvMsg(&f); err != nil {
				return err
			}
			if f.kind == frameEvent {
				got++
			}
		}
		return nil
	})
}

// capture keeps the bytes of the next n events of the only stream.
func (s *subscribers) capture(n int) ([][]byte, error) {
	var out [][]byte
	for len(out) < n {
		f := frame{keep: true}
		if err := s.streams[0].RecvMsg(&f); err != nil {
			return nil, err
		}
		if f.kind == frameEvent {
			out = append(out, f.data)
		}
	}
	return out, nil
}

// rawFan is a gRPC server that sends the same bytes to everybody, and does nothing
// else.
type rawFan struct {
	server *grpc.Server
	addr   string
	start  chan struct{}
	ended  chan error
}

const rawFanMethod = "/bench.Raw/Fan"

// startRawFan listens. Who calls hears at once that it is ready, and the frames when start is closed.
func startRawFan(ctx context.Context, frames [][]byte) (*rawFan, error) {
	listener, err := listen(ctx, "raw", anyPort)
	if err != nil {
		return nil, err
	}
	if listener == nil {
		return nil, domain.Errorf(domain.Internal, "bench: no listener")
	}
	f := &rawFan{
		server: grpc.NewServer(grpc.ForceServerCodecV2(newFrameCodec()), grpc.WaitForHandlers(true)),
		addr:   listener.Addr().String(), start: make(chan struct{}), ended: make(chan error, 1),
	}
	f.server.RegisterService(&grpc.ServiceDesc{
		ServiceName: "bench.Raw", HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{{StreamName: "Fan", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			if err := stream.SendMsg([]byte{frameCaughtUp}); err != nil {
				return err
			}
			select {
			case <-f.start:
			case <-stream.Context().Done():
			}
			for _, frame := range frames {
				if err := stream.SendMsg(frame); err != nil {
					return err
				}
			}
			return nil
		}}},
	}, nil)
	go func() { f.ended <- f.server.Serve(listener) }()
	return f, nil
}

func (f *rawFan) stop() error {
	f.server.Stop()
	return <-f.ended
}
