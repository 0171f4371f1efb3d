package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tars-project/tars/vmhost"
	"github.com/tars-project/tars/vmhost/cell/wire"
)

// Task is a piece of work of the binary's own on bytes of a tenant's, such as reading
// a document. What is wrong with the bytes is a *[vmhost.RefusedError], whose text
// reaches their owner. It need not bound itself: the cell is for this one alone, and
// ends with it.
type Task func(ctx context.Context, input []byte) ([]byte, error)

// task does a piece of work and says what came of it. The host, not the context, ends
// what takes too long.
func (s *server) task(id uint32, m wire.Task) {
	output, err := s.do(m)
	if err != nil {
		s.fail(id, wire.Used{}, err)
		return
	}
	_ = s.w.Write(wire.OpDone, 0, id, output)
}

func (s *server) do(m wire.Task) ([]byte, error) {
	do, ok := s.tasks[m.Name]
	if !ok {
		return nil, fmt.Errorf("%w: this binary has no task %q", vmhost.ErrUnavailable, m.Name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), m.Remaining+time.Second)
	defer cancel()
	output, err := do(ctx, m.Input)
	var refused *vmhost.RefusedError
	switch {
	case errors.As(err, &refused):
		return nil, refused
	case err != nil:
		return nil, fmt.Errorf("%w: task %s: %w", vmhost.ErrCrashed, m.Name, err)
	case int64(len(output)) > m.Output:
		return nil, fmt.Errorf("%w: %d bytes, %d are allowed", vmhost.ErrOutput, len(output), m.Output)
	}
	return output, nil
}
