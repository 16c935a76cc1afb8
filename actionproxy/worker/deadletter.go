package worker

import (
	"context"
	"time"

	"github.com/weft-stream/weft/internal/control"
)

// transferPatience is for how long the hook may say that it can't reach the user's weft.
const transferPatience = 30 * time.Second

// deadLetters takes the events that failed in a stage without an error edge: one JSON object a line,
// confirmed before the worker goes on.
type deadLetters struct {
	hook *hookConn
	to   control.Transfer // Offset: bytes written so far
}

func (d *deadLetters) write(ctx context.Context, letter []byte) error {
	blob := append(letter, '\n')
	if _, err := d.hook.insist(ctx, control.TypeDead, d.to, blob, nil, transferPatience); err != nil {
		return err
	}
	d.to.Offset += int64(len(blob))
	return nil
}
