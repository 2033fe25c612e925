package p2p

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
)

// A Session is one sync stream on one connection. Its methods may be called
// from any goroutine, and from within Handler's.
type Session struct {
	id       uint64
	peer     peer.ID
	name     string // peer as text
	addr     string
	outbound bool
	maxFrame int

	conn   network.Conn
	stream network.Stream

	// mu guards what follows; it is never held while something blocks.
	mu     sync.Mutex
	queue  [][]byte
	queued int   // bytes of queue and of the frames being written, overhead included
	reason error // why we closed; set once, before done is closed
	closed bool

	wake chan struct{} // cap 1: queue is not empty
	done chan struct{} // closed when the session is to end

	// tasks are the writer and the closer; serve waits for them.
	tasks sync.WaitGroup
}

// ID is unique within this process.
func (s *Session) ID() uint64 { return s.id }

// Peer is the id of the far side.
func (s *Session) Peer() string { return s.name }

// Addr is the far side's address on this connection, with /p2p/. For an
// inbound session its port is not one that the peer listens on.
func (s *Session) Addr() string { return s.addr }

// Outbound says that we dialled.
func (s *Session) Outbound() bool { return s.outbound }

// Send queues one frame and returns at once; the session owns msg from here.
// A queue over its bound closes the session with ErrOverflow, a frame over the
// limit with ErrTooLarge. After the session ended it does nothing.
func (s *Session) Send(msg []byte) {
	if len(msg) > s.maxFrame {
		s.Close(fmt.Errorf("%w: frame of %d bytes, the limit is %d", ErrTooLarge, len(msg), s.maxFrame))
		return
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	if s.queued+len(msg)+frameOverhead > maxQueueBytes {
		s.mu.Unlock()
		s.Close(ErrOverflow)
		return
	}
	s.queue = append(s.queue, msg)
	s.queued += len(msg) + frameOverhead
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Queued is how many bytes wait to be written.
func (s *Session) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// Close ends the session and its connection; it does not wait. What is queued
// is dropped. Handler.Closed gets reason, or ErrClosed for nil. Only the first
// reason counts.
func (s *Session) Close(reason error) {
	if reason == nil {
		reason = ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed, s.reason = true, reason
	s.queue, s.queued = nil, 0
	close(s.done)
	// Closing may wait for a socket that takes no more bytes, so it gets a
	// goroutine; it is what makes a blocked reader and writer return.
	s.tasks.Go(func() { s.conn.Close() })
}

// run calls the handler for the life of the session and returns after Closed.
func (s *Session) run(h Handler, seen func()) {
	h.Opened(s)
	s.tasks.Go(func() {
		if err := s.write(); err != nil {
			s.Close(err)
		}
	})
	s.Close(s.read(h, seen))
	s.tasks.Wait()
	h.Closed(s, s.reason)
}

// read hands over frames until the stream ends, and says why it did.
func (s *Session) read(h Handler, seen func()) error {
	r := bufio.NewReaderSize(s.stream, readBufferBytes)
	for {
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return err
		}
		if n > uint64(s.maxFrame) {
			return fmt.Errorf("%w: frame of %d bytes announced, the limit is %d", ErrTooLarge, n, s.maxFrame)
		}
		msg, err := readFrame(r, int(n))
		if err != nil {
			return err
		}
		select {
		case <-s.done:
			return ErrClosed // the reason given to Close stands
		default:
		}
		seen()
		h.Received(s, msg)
	}
}

// readFrame reads n bytes, allocating in step with what arrives.
func readFrame(r io.Reader, n int) ([]byte, error) {
	buf := make([]byte, min(n, firstReadBytes))
	for at := 0; ; {
		if _, err := io.ReadFull(r, buf[at:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if len(buf) == n {
			return buf, nil
		}
		at = len(buf)
		grown := make([]byte, min(n, 4*at))
		copy(grown, buf)
		buf = grown
	}
}

// write sends what is queued, flushing when nothing more waits.
func (s *Session) write() error {
	w := bufio.NewWriterSize(s.stream, writeBufferBytes)
	var head [binary.MaxVarintLen64]byte
	for {
		select {
		case <-s.wake:
		case <-s.done:
			return nil
		}
		for {
			s.mu.Lock()
			batch := s.queue
			s.queue = nil
			s.mu.Unlock()
			if len(batch) == 0 {
				break
			}
			for i, msg := range batch {
				n := binary.PutUvarint(head[:], uint64(len(msg)))
				if _, err := w.Write(head[:n]); err != nil {
					return err
				}
				if _, err := w.Write(msg); err != nil {
					return err
				}
				batch[i] = nil // written: let it go
				s.sent(len(msg) + frameOverhead)
			}
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

// sent takes n bytes off the account of the queue.
func (s *Session) sent(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.queued -= n
	}
}
