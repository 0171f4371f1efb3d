package wazerovm

import (
	"context"
	"encoding/binary"
	"math"
)

// Subscriptions and events of poll_oneoff as they lie in memory.
const (
	subscriptionSize = 48
	eventSize        = 32
	maxSubscriptions = 256

	tagClock = 0
	tagRead  = 1
	tagWrite = 2
)

// subscription is what a guest waits for: a moment, or a file.
type subscription struct {
	userdata uint64
	tag      byte
	file     uint32 // of tagRead and tagWrite
	wait     uint64 // of tagClock, nanoseconds from now
	errno    errno  // what is wrong with it
}

// poll is poll_oneoff: how language runtimes sleep. Files are ready at once, or
// wrong at once; if there are none, the shortest wait is slept.
func poll(ctx context.Context, v *vm, args []uint64) errno {
	count := uint32(args[2])
	if count == 0 || count > maxSubscriptions {
		return errnoInvalid
	}
	in, err := v.memory.view().span(uint32(args[0]), count*subscriptionSize)
	if err != nil {
		return errnoFault
	}
	out, err := v.memory.view().span(uint32(args[1]), count*eventSize)
	if err != nil {
		return errnoFault
	}
	subscriptions := make([]subscription, 0, count) // all are read first: in and out may overlap
	for ; len(in) > 0; in = in[subscriptionSize:] {
		subscriptions = append(subscriptions, v.subscription(in))
	}
	ready := due(subscriptions, 0)
	if len(ready) == 0 {
		wait := shortest(subscriptions)
		v.cpu.without(func() { v.clock.sleep(ctx, wait) })
		v.endIfDone(ctx)
		ready = due(subscriptions, wait)
	}
	for i, s := range ready {
		s.store(out[i*eventSize:])
	}
	return v.put32(uint32(args[3]), uint32(len(ready)))
}

// subscription reads one subscription.
func (v *vm) subscription(b []byte) subscription {
	s := subscription{userdata: binary.LittleEndian.Uint64(b), tag: b[8]}
	switch s.tag {
	case tagClock:
		v.clockSubscription(&s, b[16:])
	case tagRead, tagWrite:
		s.file = binary.LittleEndian.Uint32(b[16:])
		if s.file > 2 || (s.file == 0) != (s.tag == tagRead) {
			s.errno = errnoBadFile
		}
	default:
		s.errno = errnoInvalid
	}
	return s
}

func (v *vm) clockSubscription(s *subscription, b []byte) {
	const absolute = 1
	now, ok := v.clock.read(binary.LittleEndian.Uint32(b))
	if !ok {
		s.errno = errnoInvalid
		return
	}
	s.wait = binary.LittleEndian.Uint64(b[8:])
	if binary.LittleEndian.Uint16(b[24:])&absolute != 0 {
		s.wait -= min(now, s.wait)
	}
}

// due returns the subscriptions that are ready after some nanoseconds. Files
// always are.
func due(all []subscription, after uint64) []subscription {
	var ready []subscription
	for _, s := range all {
		if s.tag != tagClock || s.errno != errnoSuccess || s.wait <= after {
			ready = append(ready, s)
		}
	}
	return ready
}

// shortest returns the shortest wait of subscriptions that all are for a clock.
func shortest(all []subscription) uint64 {
	wait := uint64(math.MaxUint64)
	for _, s := range all {
		wait = min(wait, s.wait)
	}
	return wait
}

// store writes the event of a subscription that is ready.
func (s subscription) store(b []byte) {
	const hangup = 1
	clear(b[:eventSize])
	binary.LittleEndian.PutUint64(b, s.userdata)
	binary.LittleEndian.PutUint16(b[8:], uint16(s.errno))
	b[10] = s.tag
	if s.errno == errnoSuccess && s.tag == tagRead {
		binary.LittleEndian.PutUint16(b[24:], hangup) // standard input is at its end
	}
}
