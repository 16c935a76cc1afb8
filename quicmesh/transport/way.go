package transport

import (
	"context"
	"errors"
	"fmt"
)

// Wishes of an edge for what carries its links; "" and anything else is none.
const (
	WishSHM  = "shm"
	WishQUIC = "quic"
)

// NotNear is why two slots can't share memory, whoever asks again.
type NotNear struct{ Reason string }

func (e NotNear) Error() string { return e.Reason }

// Way opens the links of an edge: over shared memory where that can be had, else over QUIC, unless the edge
// wants one of the two.
type Way struct {
	Wish       string
	Near, Far  Dialer
	Impossible func(error) // hears why an edge can't have the memory that it insists on
}

// Dial is Dialer's.
func (w Way) Dial(ctx context.Context, addr string, peer Identity) (Stream, error) {
	if w.Wish == WishQUIC {
		return w.Far.Dial(ctx, addr, peer)
	}
	s, err := w.Near.Dial(ctx, addr, peer)
	if err == nil {
		return s, nil
	}
	reason := err.Error()
	var none NotNear
	final := errors.As(err, &none)
	if final {
		reason = none.Reason
	}
	switch {
	case ctx.Err() != nil:
		return nil, err
	case w.Wish != WishSHM:
		s, err := w.Far.Dial(ctx, addr, peer)
		if err != nil {
			return nil, err
		}
		return fallback{s, reason}, nil
	case final:
		err = fmt.Errorf("its edge wants transport: shm, which can't be had: %s", reason)
		w.Impossible(fmt.Errorf("link to %s[%d]: %w", peer.Stage, peer.Index, err))
	}
	return nil, err
}

// fallback is a stream that would go over shared memory but for a reason.
type fallback struct {
	Stream
	reason string
}

// Carrier is that of the interface.
func (f fallback) Carrier() string {
	if c, ok := f.Stream.(Carrier); ok {
		return c.Carrier() + ": " + f.reason
	}
	return ""
}
